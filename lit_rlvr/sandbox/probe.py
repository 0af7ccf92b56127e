"""What this machine offers for confining programs, found by trying."""

import os
import platform
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from lit_rlvr.sandbox.base import Job, Limits
from lit_rlvr.sandbox.confinement import landlock
from lit_rlvr.sandbox.confinement.syscalls import AUDIT_ARCH
from lit_rlvr.sandbox.job import run_job
from lit_rlvr.sandbox.runtime import Runtime, interpreter
from lit_rlvr.sandbox.self_test import self_test
from lit_rlvr.sandbox.worker import ConfinementUnavailable, Worker, WorkerDied

_CGROUP = Path("/sys/fs/cgroup")
_TRIVIAL = Job(code="print(int(input()) * 2)", stdin=b"21\n")


class IsolationProbe(NamedTuple):
    """What became of one isolation when it was tried."""

    name: str
    problem: str
    """Why it cannot be used; empty if it can."""
    start_s: float
    """Seconds from nothing to a zygote that passed its self-test."""
    program_s: float
    """Median seconds of a trivial program, on the clock."""
    program_cpu_s: float
    """Median CPU seconds of a trivial program's process."""
    max_threads: int
    """Threads that a program's user may have in all; 0 where only memory bounds them."""


def probe_isolation(name: str, runtime: Runtime, num_programs: int = 20) -> IsolationProbe:
    """Start a zygote of one isolation, attack it, and time a trivial program in it."""
    started = time.perf_counter()
    try:
        worker = Worker(name, runtime.usual, [])
    except (ConfinementUnavailable, WorkerDied) as error:
        return IsolationProbe(name, str(error), 0.0, 0.0, 0.0, 0)
    try:
        problem = self_test(worker)
        start_s = time.perf_counter() - started
        if problem:
            return IsolationProbe(name, problem, start_s, 0.0, 0.0, worker.max_threads)
        walls, cpus = [], []
        for _ in range(num_programs):
            begun = time.perf_counter()
            cpus.append(run_job(worker, _TRIVIAL, Limits()).cpu_s)
            walls.append(time.perf_counter() - begun)
        return IsolationProbe(name, "", start_s, median(walls), median(cpus), worker.max_threads)
    finally:
        worker.stop()


def machine_facts() -> Sequence[tuple[str, str]]:
    """Return what is known of this machine without trying, as names and words."""
    machine = platform.machine()
    known = "" if machine in AUDIT_ARCH else f"; filters exist for {' and '.join(AUDIT_ARCH)} only"
    version = landlock.version() if not known else 0
    user = os.geteuid()
    return [
        ("kernel", f"{platform.system()} {platform.release()} on {machine}{known}"),
        ("interpreter", interpreter()),
        ("user", "root: programs run as another user" if user == 0 else str(user)),
        ("user namespaces", _user_namespaces()),
        ("landlock", f"version {version}" if version else "none"),
        ("seccomp", _seccomp()),
        ("cgroup", _cgroup()),
        ("stack limit", _stack()),
    ]


def _user_namespaces() -> str:
    switches = (
        ("/proc/sys/user/max_user_namespaces", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    )
    found = [f"{path} is {value}" for path, value in switches if _read(path) == value]
    return f"restricted: {', '.join(found)}" if found else "not switched off"


def _seccomp() -> str:
    actions = _read("/proc/sys/kernel/seccomp/actions_avail")
    return f"filters with {actions}" if actions else "unknown: /proc/sys/kernel/seccomp/actions_avail cannot be read"


def _cgroup() -> str:
    """Say whether a group could be limited from here. It is not needed: every program has limits of its own."""
    lines = _read("/proc/self/cgroup").splitlines()
    own = next((line.split("::", 1)[1] for line in lines if line.startswith("0::")), None)
    if own is None or not (_CGROUP / "cgroup.controllers").exists():
        return "no version 2 (not needed)"
    is_delegated = os.access(_CGROUP / own.lstrip("/") / "cgroup.procs", os.W_OK)
    return f"version 2, {'delegated' if is_delegated else 'not delegated'} (not used)"


def _stack() -> str:
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    return "none" if hard == resource.RLIM_INFINITY else f"{hard >> 20} MiB"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
