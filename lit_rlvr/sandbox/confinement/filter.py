"""Seccomp filters: small programs that the kernel asks about every system call. A rule never falls through to the next one."""

import ctypes
import errno
import platform
import struct

from lit_rlvr.sandbox.confinement.syscalls import AUDIT_ARCH, number
from lit_rlvr.sandbox.confinement.system import syscall

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant."""
Body = list[Instruction]
"""What is done for one system call; ends in a verdict on every path."""

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_SET_MODE_FILTER = 1

ALLOWED: Body = [(_RETURN, 0, 0, _ALLOW)]


def refused(error: int) -> Body:
    """Fail with this errno. Zero pretends success."""
    return [(_RETURN, 0, 0, _ERRNO | error)]


def unless_any_bit(argument: int, mask: int, error: int = errno.EPERM) -> Body:
    """Allow only if none of these bits is set in an argument's low word."""
    return [_low(argument), (_ANY_BIT, 0, 1, mask), *refused(error), *ALLOWED]


def if_any_bit(argument: int, mask: int, error: int = errno.EPERM) -> Body:
    """Allow only if one of these bits is set in an argument's low word."""
    return [_low(argument), (_ANY_BIT, 1, 0, mask), *refused(error), *ALLOWED]


def if_one_of(argument: int, values: tuple[int, ...], error: int = errno.EPERM) -> Body:
    """Allow only if an argument's low word is one of these values."""
    tests = [(_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_low(argument), *tests, *refused(error), *ALLOWED]


def unless_one_of(argument: int, values: tuple[int, ...], error: int = errno.EPERM) -> Body:
    """Allow only if an argument's low word is none of these values."""
    tests = [(_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_low(argument), *tests, *ALLOWED, *refused(error)]


def if_null(argument: int, error: int = errno.EPERM) -> Body:
    """Allow only if an argument, all 64 bits of it, is zero."""
    low, high = _low(argument), (_LOAD, 0, 0, _ARGUMENTS_OFFSET + 8 * argument + 4)
    return [low, (_EQUAL, 0, 2, 0), high, (_EQUAL, 1, 0, 0), *refused(error), *ALLOWED]


def assemble(rules: dict[str, Body], otherwise: Body) -> bytes:
    """Return the filter with one rule per system call; calls of another machine type kill the process."""
    program: Body = [
        (_LOAD, 0, 0, _ARCH_OFFSET),
        (_EQUAL, 1, 0, AUDIT_ARCH[platform.machine()]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
    ]
    for name, body in rules.items():
        if number(name) >= 0:
            program += [(_EQUAL, 0, len(body), number(name)), *body]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in [*program, *otherwise])


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def install(code: bytes) -> None:
    """Put this process, and all it forks, under a filter for good. Needs NO_NEW_PRIVS.

    Raises:
        OSError: the kernel has no seccomp filters or refused this one.
    """
    program = _Program(len(code) // 8, code)
    syscall("seccomp", number("seccomp"), _SET_MODE_FILTER, 0, ctypes.byref(program))


def _low(argument: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS_OFFSET + 8 * argument)
