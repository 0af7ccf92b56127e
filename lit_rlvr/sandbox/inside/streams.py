"""The descriptors of a program, and the standard streams on them, made once for all programs before they are forked."""

import builtins
import fcntl
import functools
import io
import os
import sys
from collections.abc import Callable
from typing import IO, Any

from lit_rlvr.sandbox.inside.report import PROGRAM_FILE

PAYLOAD = 4
NULL = 7
"""Descriptors 0 to 2 are the standard streams, 3 the report, 5 and 6 the pipes between a solution and its test, 7 /dev/null."""
MAX_DESCRIPTORS = 256
"""More than the zygote can have open."""
_ZYGOTES_OWN = 32
"""From here on are the zygote's descriptors."""

_PATHS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2, "/dev/null": NULL}
_PATHS |= {f"{folder}/{number}": number for folder in ("/dev/fd", "/proc/self/fd") for number in range(3)}


def move_up(descriptor: int) -> int:
    """Return a descriptor that leaves the places of a program's free, and close the old one."""
    if descriptor < 0:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ZYGOTES_OWN)
    os.close(descriptor)
    return moved


def prepare_streams() -> None:
    """Take the places of a program's descriptors, and make the streams that a fresh interpreter would have on them."""
    null = os.open(os.devnull, os.O_RDWR)
    for place in (0, 1, *range(3, NULL + 1)):
        if place != null:
            os.dup2(null, place)
    if null > NULL:
        os.close(null)
    streams = {
        "stdin": _text(0, "r", "surrogateescape"),
        "stdout": _text(1, "w", "surrogateescape"),
        "stderr": _text(2, "w", "backslashreplace", buffering=1),
    }
    for name, stream in streams.items():
        vars(sys)[name] = vars(sys)[f"__{name}__"] = stream
    builtins.open = io.open = functools.partial(_open, io.open)  # type: ignore[assignment]
    sys.argv = [PROGRAM_FILE]


def _text(descriptor: int, mode: str, errors: str, buffering: int = -1) -> IO[str]:
    return io.open(descriptor, mode, buffering, encoding="utf-8", errors=errors, closefd=False)  # noqa: UP020


def _open(real_open: Callable[..., IO[Any]], file: Any, *arguments: Any, **keywords: Any) -> IO[Any]:
    """Open a file; the names of the standard streams work although there is no /dev."""
    name = file if isinstance(file, str) else getattr(file, "__fspath__", str)()
    if name in _PATHS:
        file = os.dup(_PATHS[name])
    return real_open(file, *arguments, **keywords)
