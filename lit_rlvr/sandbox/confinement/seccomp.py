"""Which system calls remain: a list of what is allowed for the zygote, and a shorter list of what programs lose beyond that."""

import errno
import struct

from lit_rlvr.sandbox.confinement.filter import (
    ALLOWED,
    Body,
    assemble,
    if_any_bit,
    if_null,
    if_one_of,
    refused,
    unless_any_bit,
    unless_one_of,
)

_READ_AND_WRITE = (
    "read write close fstat poll lseek pread64 pwrite64 readv writev pipe select dup dup2 dup3 sendfile flock fsync fdatasync "
    "ftruncate umask fstatfs epoll_create epoll_wait epoll_ctl epoll_pwait epoll_create1 eventfd2 pipe2 preadv pwritev "
    "close_range fadvise64 pselect6 ppoll recvfrom shutdown getsockname getpeername getsockopt"
)
_LOOK_AT_FILES = (
    "stat lstat access getdents getcwd chdir fchdir readlink statfs getdents64 newfstatat readlinkat faccessat statx faccessat2"
)
_MEMORY = "mmap mprotect munmap brk mremap msync mincore madvise membarrier"
_TIME = (
    "rt_sigaction rt_sigprocmask rt_sigreturn pause nanosleep getitimer alarm setitimer gettimeofday times rt_sigpending "
    "rt_sigtimedwait rt_sigsuspend sigaltstack time restart_syscall clock_gettime clock_getres clock_nanosleep"
)
_SELF = (
    "getpid exit uname getrlimit getrusage sysinfo getuid getgid geteuid getegid getppid getpgrp getgroups getresuid getresgid "
    "getpgid getsid capget getpriority sched_yield sched_getparam sched_getscheduler sched_get_priority_max "
    "sched_get_priority_min gettid futex sched_getaffinity set_tid_address exit_group set_robust_list getcpu getrandom rseq"
)
_ZYGOTE = "clone kill tgkill wait4 waitid sendmsg recvmsg prctl setrlimit prlimit64 seccomp pidfd_open"

_WRITE_FLAGS = 0o3 | 0o100 | 0o1000 | 0o2000
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND."""
_HARMLESS_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS (isatty), TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
_PIPE_SIZE_OWNER_SIGNAL_LEASE_NOTIFY = (1031, 8, 10, 15, 1024, 1026)
"""fcntl commands that hold kernel memory or send signals to others."""
_CLONE_THREAD = 0x10000
_AF_UNIX = 1
_ANY_PROCESS = 0x7E57C0DE
"""Stands in a template for the number of a process, which is never this large."""


def zygote_filter() -> bytes:
    """Return the filter of the zygote: what a computing process needs, and no file may be opened for writing."""
    names = " ".join((_READ_AND_WRITE, _LOOK_AT_FILES, _MEMORY, _TIME, _SELF, _ZYGOTE)).split()
    rules: dict[str, Body] = dict.fromkeys(names, ALLOWED)
    rules |= {
        "open": unless_any_bit(1, _WRITE_FLAGS, errno.EACCES),
        "openat": unless_any_bit(2, _WRITE_FLAGS, errno.EACCES),
        "ioctl": if_one_of(1, _HARMLESS_IOCTLS, errno.ENOTTY),
        "fcntl": unless_one_of(1, _PIPE_SIZE_OWNER_SIGNAL_LEASE_NOTIFY),
        "socketpair": if_one_of(0, (_AF_UNIX,)),
        "sendto": if_null(4),
        "clone3": refused(errno.ENOSYS),  # its flags are out of a filter's sight; the C library falls back to clone
        "openat2": refused(errno.ENOSYS),
    }
    return assemble(rules, otherwise=refused(errno.EPERM))


def program_filter(may_open_files: bool) -> bytes:
    """Return what a program loses on top of the zygote's filter: processes, others' signals, messages, its own limits.

    It is a template: `program_filter_for` makes it one process's own.
    """
    rules: dict[str, Body] = {
        "clone": if_any_bit(0, _CLONE_THREAD),
        "kill": if_one_of(0, (_ANY_PROCESS,)),
        "tgkill": if_one_of(0, (_ANY_PROCESS,)),
        "wait4": refused(errno.ECHILD),
        "waitid": refused(errno.ECHILD),
        "prlimit64": if_null(2),
    }
    rules |= dict.fromkeys(("sendmsg", "recvmsg", "setrlimit", "prctl", "seccomp", "pidfd_open"), refused(errno.EPERM))
    if not may_open_files:
        names = (
            "open",
            "openat",
            "stat",
            "lstat",
            "access",
            "readlink",
            "readlinkat",
            "faccessat",
            "faccessat2",
            "statx",
            "chdir",
        )
        rules |= dict.fromkeys(names, refused(errno.EACCES))
    return assemble(rules, otherwise=ALLOWED)


def program_filter_for(process_id: int, template: bytes) -> bytes:
    """Return the filter of one process, which may signal itself only."""
    return template.replace(struct.pack("=I", _ANY_PROCESS), struct.pack("=I", process_id))
