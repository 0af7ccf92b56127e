"""Files in memory, handed over as descriptors: what a program reads cannot change, what it writes needs no reader."""

import fcntl
import os


def memory_file(data: bytes | None = None) -> int:
    """Return the descriptor of a new file: one that can be written, or one that holds `data` and cannot."""
    descriptor = os.memfd_create("sandbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    if data is not None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def contents(descriptor: int, max_bytes: int, from_end: bool = False) -> bytes:
    """Return the first, or the last, bytes of a file."""
    start = max(0, size(descriptor) - max_bytes) if from_end else 0
    return os.pread(descriptor, max_bytes, start)


def size(descriptor: int) -> int:
    """Return how many bytes a file has."""
    return os.fstat(descriptor).st_size
