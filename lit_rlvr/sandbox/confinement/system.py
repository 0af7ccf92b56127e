"""Calls into the kernel that the standard library does not have."""

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_fork = ctypes.PyDLL(None).fork

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

_M_ARENA_MAX = -8


def syscall(name: str, number: int, *arguments: object) -> int:
    """Make a system call; integers are passed as 64-bit words, everything else as ctypes makes it.

    Raises:
        OSError: it failed; the message starts with `name`.
    """
    words = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    return _checked(name, _libc.syscall(ctypes.c_long(number), *words))


def prctl(option: int, value: int = 0) -> None:
    """Change an attribute of this process.

    Raises:
        OSError: the kernel refused.
    """
    zero = ctypes.c_ulong(0)
    _checked(f"prctl({option})", _libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def fork() -> int:
    """Fork a process that has one thread, as `os.fork`, but run no hooks in the child, which cost as much as a short program.

    There is nothing for them to mend: no other thread held a lock. The child must seed its random numbers.

    Raises:
        OSError: there is no memory, or too many processes.
    """
    process_id = _fork()
    if process_id < 0:
        raise OSError(errno.EAGAIN, "fork: no memory, or too many processes")
    return process_id


def unshare(flags: int) -> None:
    """Move this process to new namespaces.

    Raises:
        OSError: the kernel refused.
    """
    _checked("unshare", _libc.unshare(flags))


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Mount a file system, bind a directory, or change a mount.

    Raises:
        OSError: the kernel refused.
    """
    texts = [text.encode() if text is not None else None for text in (source, target, kind, data)]
    _checked(f"mount on {target}", _libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]))


def unmount(target: str, flags: int) -> None:
    """Take a mount away.

    Raises:
        OSError: the kernel refused.
    """
    _checked(f"umount {target}", _libc.umount2(target.encode(), flags))


def use_one_malloc_arena() -> None:
    """Keep malloc from reserving 64 MiB of address space per thread, which would count against a program's memory."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_ARENA_MAX, 1)


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
