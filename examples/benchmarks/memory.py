"""Peak memory of a computation, measured in a process of its own."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import torch

MIB = 2**20


def peak_bytes(device: str) -> int:
    """Return the most memory this process ever held."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if not status.exists():  # macOS, where getrusage counts in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux hands the parent's getrusage peak down to its children; this one starts anew.
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


def run_apart(script: str, *arguments: object) -> list[float]:
    """Run a script in a fresh process and return the byte counts it prints, in MiB."""
    command = [sys.executable, script, *map(str, arguments)]
    # glibc keeps freed blocks below a threshold that grows as it runs; without a fixed one the peak counts tensors long gone.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(MIB)}
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return [int(count) / MIB for count in result.stdout.split()]
