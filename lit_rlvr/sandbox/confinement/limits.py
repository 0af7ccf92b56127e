"""Resource limits: those of every program are set once, before it is forked, the rest by the program's own process."""

import contextlib
import math
import resource
from typing import NamedTuple

_OPEN_FILES = 128
_MAX_STACK = 120 * 1024**2
"""Bytes the main thread's stack may grow to: what Linux leaves free below a stack. Deep recursion through C needs it."""
_CPU_GRACE = 2
_setrlimit = resource.setrlimit


class ResourceLimits(NamedTuple):
    """What one program may use."""

    cpu_s: float
    """CPU seconds; the kernel's own limit is whole seconds later and only matters when nobody else is watching."""
    address_space: int
    """Bytes of address space, those of the interpreter included."""
    file_size: int
    """Bytes of any file it writes: its outputs."""


def limit_program(limits: ResourceLimits) -> None:
    """Limit this process for good."""
    _limit(resource.RLIMIT_CPU, math.ceil(limits.cpu_s) + _CPU_GRACE)
    _limit(resource.RLIMIT_AS, limits.address_space)
    _limit(resource.RLIMIT_FSIZE, limits.file_size)


def limit_zygote(max_threads: int) -> None:
    """Set what is the same for all programs; from here on `resource.setrlimit` does nothing.

    Args:
        max_threads: threads of this user, in all; 0 for no limit of its own.
    """
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_MEMLOCK, 0)
    _limit(resource.RLIMIT_STACK, _MAX_STACK)
    if max_threads:
        _limit(resource.RLIMIT_NPROC, max_threads)
    resource.setrlimit = _ignore


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError):
        _setrlimit(kind, (value, value))


def _ignore(kind: int, limits: tuple[int, int]) -> None:
    """Stand in for `setrlimit`: solutions ask for a larger stack, which they have already, and would fail."""
