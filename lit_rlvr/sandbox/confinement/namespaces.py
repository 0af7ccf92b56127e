"""Namespaces: a process with no network, no other processes, and a file system of an interpreter and nothing else."""

import os
from collections.abc import Callable, Sequence

from lit_rlvr.sandbox.confinement.syscalls import number
from lit_rlvr.sandbox.confinement.system import mount, syscall, unmount, unshare

_NEW_MOUNTS, _NEW_UTS, _NEW_IPC = 0x20000, 0x4000000, 0x8000000
_NEW_USER, _NEW_PIDS, _NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
_ALL_BUT_MOUNTS = _NEW_USER | _NEW_PIDS | _NEW_NETWORK | _NEW_IPC | _NEW_UTS
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_EXECUTION = 1, 2, 4, 8
_REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
_DETACH = 2
_LOCKED_FLAGS = 0xF | 1024 | 2048
"""What statvfs tells of a mount and a user namespace may not take away: ro, nosuid, nodev, noexec, noatime, nodiratime."""
_MOUNT_POINTS = ("/tmp", "/run", "/mnt", "/media", "/srv", "/var")
"""Where the new root is put together; only this process sees it there."""
_INSIDE_USER = 65534


def enter(directories: Sequence[str], hidden: Sequence[str], become_nobody: Callable[[], bool]) -> bool:
    """Move this process to namespaces of its own; only what it forks from now on is alone in the new process namespace.

    Root builds the new file system before it becomes nobody, who may not be able to reach the directories.

    Args:
        directories: what stays of the file system, read-only, at the same paths.
        hidden: directories below those that become empty.
        become_nobody: changes the user, when that is possible; returns whether the user is this process's own.

    Returns:
        What `become_nobody` returned.

    Raises:
        OSError: the kernel, a container or a security module does not let this user make namespaces.
    """
    own_process = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    is_own_user = False
    if _may_mount():
        _change_root(directories, hidden)
        is_own_user = become_nobody()
        _enter_as_user(own_process, _ALL_BUT_MOUNTS)
    else:
        _enter_as_user(own_process, _ALL_BUT_MOUNTS | _NEW_MOUNTS)
        _change_root(directories, hidden)
    os.close(own_process)
    return is_own_user


def _may_mount() -> bool:
    """Enter a mount namespace, if this process may without being in a user namespace."""
    try:
        unshare(_NEW_MOUNTS)
    except OSError:
        return False
    return True


def _enter_as_user(own_process: int, flags: int) -> None:
    user, group = os.geteuid(), os.getegid()
    unshare(flags)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_INSIDE_USER} {user} 1"),
        ("gid_map", f"{_INSIDE_USER} {group} 1"),
    ):
        descriptor = os.open(name, os.O_WRONLY, dir_fd=own_process)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _change_root(directories: Sequence[str], hidden: Sequence[str]) -> None:
    mount("none", "/", flags=_RECURSIVE | _PRIVATE)
    root = _mount_root(directories)
    for path in directories:
        os.makedirs(root + path, mode=0o755, exist_ok=True)
        locked = os.statvfs(path).f_flag & _LOCKED_FLAGS
        mount(path, root + path, flags=_BIND | _RECURSIVE)
        mount("none", root + path, flags=_REMOUNT | _BIND | _READ_ONLY | _NO_SETUID | _NO_DEVICES | locked)
    for path in hidden:
        if os.path.isdir(root + path):
            mount("none", root + path, "tmpfs", _READ_ONLY | _NO_SETUID | _NO_DEVICES, "size=4k,mode=755")
    os.chdir(root)
    syscall("pivot_root", number("pivot_root"), b".", b".")
    unmount(".", _DETACH)
    os.chdir("/")
    mount("none", "/", flags=_REMOUNT | _READ_ONLY | _NO_SETUID | _NO_DEVICES | _NO_EXECUTION)


def _mount_root(directories: Sequence[str]) -> str:
    """Mount an empty file system where it hides none of the directories, and return where."""
    for path in _MOUNT_POINTS:
        is_free = not any(f"{directory}/".startswith(f"{path}/") for directory in directories)
        if is_free and os.path.isdir(path) and not os.path.islink(path):
            mount("none", path, "tmpfs", _NO_SETUID | _NO_DEVICES | _NO_EXECUTION, "size=64k,mode=755")
            return path
    raise OSError(f"none of {', '.join(_MOUNT_POINTS)} can be mounted on")
