"""What tests look up about the verifier's processes."""

import os
import subprocess
import time
from pathlib import Path

from lit_rlvr.rewards.verifier import MathVerifier


def keepers(verifier: MathVerifier) -> list[int]:
    """Return the keepers of a verifier."""
    return [worker._process.pid for worker in verifier._workers if worker._process is not None]


def judges(verifier: MathVerifier) -> list[int]:
    """Return the processes that judge for a verifier."""
    return [pid for keeper in keepers(verifier) for pid in children(keeper)]


def children(parent: int) -> list[int]:
    """Return the children of a process that are running."""
    listed = subprocess.run(["ps", "--ppid", str(parent), "-o", "pid="], capture_output=True, text=True, check=False).stdout
    return [pid for pid in map(int, listed.split()) if is_running(pid)]


def send(signum: int, pids: list[int]) -> None:
    """Send a signal to processes, some of which may be gone by now."""
    for pid in pids:
        if is_running(pid):
            os.kill(pid, signum)


def are_gone(pids: list[int], within_s: float = 10.0) -> bool:
    """Return whether all of these processes end in time."""
    deadline = time.monotonic() + within_s
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    """Return False for a process that is gone or only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
