"""How much memory the device has, how much of it is taken, and the most that a piece of work takes."""

from collections.abc import Callable
from pathlib import Path

import torch

MEMINFO, STATUS, CLEAR_PEAK = Path("/proc/meminfo"), Path("/proc/self/status"), Path("/proc/self/clear_refs")
KIB = 1024
GROUP = Path("/sys/fs/cgroup")


def taken_and_total(device: torch.device) -> tuple[int, int] | None:
    """Return the bytes of a device that are taken by whomever, and all it has; None where that cannot be asked."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(device)
        return total - free, total
    if device.type != "cpu" or not MEMINFO.exists():
        return None
    total, available = KIB * _field(MEMINFO, "MemTotal:"), KIB * _field(MEMINFO, "MemAvailable:")
    limit = (GROUP / "memory.max").read_text(encoding="ascii").strip() if (GROUP / "memory.max").exists() else "max"
    if limit.isdigit() and int(limit) < total:
        use = int((GROUP / "memory.current").read_text(encoding="ascii"))
        # Files that were read a while ago are dropped when memory runs short.
        return use - _field(GROUP / "memory.stat", "inactive_file "), int(limit)
    return total - available, total


def most_taken(device: torch.device, work: Callable[[], None]) -> int | None:
    """Return by how many bytes the memory of this process rises while it works; None where that cannot be measured."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu" or not CLEAR_PEAK.exists():
        return None
    try:
        CLEAR_PEAK.write_text("5", encoding="ascii")  # forget the peak so far
    except OSError:
        return None
    before = KIB * _field(STATUS, "VmRSS:")
    work()
    return max(KIB * _field(STATUS, "VmHWM:") - before, 0)


def _field(file: Path, name: str) -> int:
    """Return the number behind a name at the beginning of a line."""
    line = next(line for line in file.read_text(encoding="ascii").splitlines() if line.startswith(name))
    return int(line.removeprefix(name).split()[0])
