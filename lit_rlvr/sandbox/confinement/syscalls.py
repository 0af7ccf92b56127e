"""Numbers of the system calls that programs or their zygote may need, on the two machine types that are supported."""

import platform

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""What the kernel calls each machine type in the data of a filter."""

_COLUMNS = {"x86_64": 0, "aarch64": 1}
_NONE = -1

_TABLE = {
    # files and descriptors
    "read": (0, 63), "write": (1, 64), "open": (2, _NONE), "close": (3, 57), "stat": (4, _NONE), "fstat": (5, 80),
    "lstat": (6, _NONE), "poll": (7, _NONE), "lseek": (8, 62), "ioctl": (16, 29), "pread64": (17, 67), "pwrite64": (18, 68),
    "readv": (19, 65), "writev": (20, 66), "access": (21, _NONE), "pipe": (22, _NONE), "select": (23, _NONE), "dup": (32, 23),
    "dup2": (33, _NONE), "sendfile": (40, 71), "fcntl": (72, 25), "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83),
    "ftruncate": (77, 46), "getdents": (78, _NONE), "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50),
    "readlink": (89, _NONE), "umask": (95, 166), "statfs": (137, 43), "fstatfs": (138, 44), "epoll_create": (213, _NONE),
    "getdents64": (217, 61), "fadvise64": (221, 223), "epoll_wait": (232, _NONE), "epoll_ctl": (233, 21), "openat": (257, 56),
    "newfstatat": (262, 79), "readlinkat": (267, 78), "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73),
    "epoll_pwait": (281, 22), "eventfd2": (290, 19), "epoll_create1": (291, 20), "dup3": (292, 24), "pipe2": (293, 59),
    "preadv": (295, 69), "pwritev": (296, 70), "statx": (332, 291), "close_range": (436, 436), "openat2": (437, 437),
    "faccessat2": (439, 439),
    # memory
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216), "msync": (26, 227),
    "mincore": (27, 232), "madvise": (28, 233), "membarrier": (324, 283),
    # signals and time
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pause": (34, _NONE),
    "nanosleep": (35, 101), "getitimer": (36, 102), "alarm": (37, _NONE), "setitimer": (38, 103), "gettimeofday": (96, 169),
    "times": (100, 153), "rt_sigpending": (127, 136), "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132), "time": (201, _NONE), "restart_syscall": (219, 128), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    # this process and its threads
    "getpid": (39, 172), "exit": (60, 93), "uname": (63, 160), "getrlimit": (97, 163), "getrusage": (98, 165),
    "sysinfo": (99, 179), "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177),
    "getppid": (110, 173), "getpgrp": (111, _NONE), "getgroups": (115, 158), "getresuid": (118, 148), "getresgid": (120, 150),
    "getpgid": (121, 155), "getsid": (124, 156), "capget": (125, 90), "getpriority": (140, 141), "sched_yield": (24, 124),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126), "gettid": (186, 178), "futex": (202, 98), "sched_getaffinity": (204, 123),
    "set_tid_address": (218, 96), "exit_group": (231, 94), "set_robust_list": (273, 99), "getcpu": (309, 168),
    "getrandom": (318, 278), "rseq": (334, 293), "clone": (56, 220), "clone3": (435, 435),
    # pairs of connected sockets
    "sendto": (44, 206), "recvfrom": (45, 207), "shutdown": (48, 210), "getsockname": (51, 204), "getpeername": (52, 205),
    "socketpair": (53, 199), "getsockopt": (55, 209),
    # what only the zygote may use freely
    "sendmsg": (46, 211), "recvmsg": (47, 212), "wait4": (61, 260), "kill": (62, 129), "prctl": (157, 167),
    "setrlimit": (160, 164), "tgkill": (234, 131), "waitid": (247, 95), "prlimit64": (302, 261), "seccomp": (317, 277),
    "pidfd_open": (434, 434),
    # what sets a confinement up
    "capset": (126, 91), "pivot_root": (155, 41), "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
}  # fmt: skip


def number(name: str) -> int:
    """Return a system call's number on this machine, or -1 where it does not exist.

    Raises:
        OSError: the machine type is neither x86_64 nor aarch64.
    """
    machine = platform.machine()
    if machine not in _COLUMNS:
        raise OSError(f"system call numbers are known for {' and '.join(_COLUMNS)}, not for {machine}")
    return _TABLE[name][_COLUMNS[machine]]
