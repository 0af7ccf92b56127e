"""Looking at real processes: who descends from whom, and who is still there."""

import os
import time
from pathlib import Path


def descendants(process_id: int) -> set[int]:
    """Return all processes below one, by what /proc says now."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    found, size = {process_id}, 0
    while len(found) > size:
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {process_id}


def zygotes() -> set[int]:
    """Return the zygotes below this process, and whatever runs in them."""
    return {pid for pid in descendants(os.getpid()) if b"lit_rlvr.sandbox.inside.zygote" in _command(pid)}


def wait_until_gone(process_ids: set[int], seconds: float = 10.0) -> set[int]:
    """Return those of some processes that are still running after a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process_ids = {pid for pid in process_ids if _command(pid)}
        if not process_ids:
            break
        time.sleep(0.02)
    return process_ids


def _command(process_id: int) -> bytes:
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes()
    except OSError:
        return b""
