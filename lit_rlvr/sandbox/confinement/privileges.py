"""Giving up what a process may do: another user when it is root, no capabilities, no way to gain any."""

import contextlib
import os
import struct

from lit_rlvr.sandbox.confinement.syscalls import number
from lit_rlvr.sandbox.confinement.system import PR_CAPBSET_DROP, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, prctl, syscall

_FIRST_USER = 1_500_000_000
"""Users that nobody has on a normal machine: one for each zygote, so that its limit on threads counts its own only."""
_NOBODY = 65534
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63


def become_nobody() -> bool:
    """As root, become a user that owns nothing, if this machine has one; return whether the user is this process's own."""
    if os.geteuid() != 0:
        return False
    for user in (_FIRST_USER + os.getpid(), _NOBODY):
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            prctl(PR_SET_DUMPABLE, 1)  # until all is set up: /proc/self belongs to root otherwise
            return user != _NOBODY
    return False


def renounce() -> None:
    """Drop every capability, and every way to gain one back, and hide this process's memory from its own user.

    Raises:
        OSError: the kernel refused.
    """
    for capability in range(_LAST_CAPABILITY + 1):
        with contextlib.suppress(OSError):  # unknown to this kernel, or not ours to drop
            prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    syscall("capset", number("capset"), struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))
    prctl(PR_SET_DUMPABLE, 0)
