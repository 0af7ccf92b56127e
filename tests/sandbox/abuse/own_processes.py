"""The processes below this one, of whatever session or process group they are."""

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make orphans below this process its children, so that no daemon gets out of sight."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def generations() -> list[list[str]]:
    """Return number and name of the living processes below this one: its children, their children, and so on."""
    parents, names = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name, rest = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)
        except OSError:  # it has ended
            continue
        state, parent = rest.split()[:2]
        if state not in "ZX":
            parents[pid], names[pid] = parent, name + ")"
    found = []
    above = {str(os.getpid())}
    while above := {pid for pid, parent in parents.items() if parent in above}:
        found.append(sorted(names[pid] for pid in above))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 3.0) -> bool:
    """Wait for the condition, and return whether it came to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
