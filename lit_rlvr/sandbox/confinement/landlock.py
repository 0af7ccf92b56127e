"""Landlock: no file but those below given paths can be read, none written, no TCP, no signal to anybody outside.

Needs no privilege. See the kernel's Documentation/userspace-api/landlock.rst for the rights and the versions they came with.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Sequence

from lit_rlvr.sandbox.confinement.syscalls import number
from lit_rlvr.sandbox.confinement.system import syscall

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights on files each version knows, where the number changed."""
_BIND_TCP_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_SIGNALS = 0b11
_VERSION_FLAG = 1
_PATH_BENEATH = 1


def version() -> int:
    """Return the version of Landlock that this kernel has switched on; 0 for none."""
    try:
        return syscall("landlock_create_ruleset", number("landlock_create_ruleset"), 0, 0, _VERSION_FLAG)
    except OSError:
        return 0


def restrict(readable: Sequence[str], listable: Sequence[str]) -> None:
    """Confine this process, and all it forks, for good. Needs NO_NEW_PRIVS.

    Args:
        readable: files, and directories with all below them, that can still be read.
        listable: directories whose names, and the names below, can still be listed.

    Raises:
        OSError: the kernel has no Landlock or refused.
    """
    ruleset = _create_ruleset()
    try:
        for path in listable:
            _allow(ruleset, path, _READ_DIR)
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        syscall("landlock_restrict_self", number("landlock_restrict_self"), ruleset, 0)
    finally:
        os.close(ruleset)


def _create_ruleset() -> int:
    available = version()
    if not available:
        raise OSError("the kernel has no Landlock, or it is not switched on")
    rights = max(count for since, count in _FILE_RIGHTS.items() if since <= available)
    fields = [(1 << rights) - 1]
    if available >= 4:
        fields.append(_BIND_TCP_CONNECT_TCP)
    if available >= 6:
        fields.append(_ABSTRACT_SOCKETS_SIGNALS)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    return syscall("landlock_create_ruleset", number("landlock_create_ruleset"), attributes, len(attributes), 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # a part of the runtime that this machine does not have, or that this user cannot reach
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= ~_READ_DIR
        rule = struct.pack("=Qi", rights, descriptor)
        syscall("landlock_add_rule", number("landlock_add_rule"), ruleset, _PATH_BENEATH, ctypes.c_char_p(rule), 0)
    finally:
        os.close(descriptor)
