"""The sandbox on this machine: a pool of confined zygotes, the strongest isolation it offers, and never none unasked."""

import logging
import os
import queue
import sys
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

from lit_rlvr.sandbox.base import Job, Limits, Outcome, Sandbox, SandboxUnavailable
from lit_rlvr.sandbox.job import check_arguments, run_job, why_rejected
from lit_rlvr.sandbox.runtime import DEFAULT_PRELOAD, Runtime, num_cpus
from lit_rlvr.sandbox.self_test import self_test
from lit_rlvr.sandbox.worker import ConfinementUnavailable, Worker, WorkerDied

_log = logging.getLogger(__name__)

Isolation = Literal["strongest", "namespaces", "landlock", "seccomp", "none"]
STRENGTHS = ("namespaces", "landlock", "seccomp")
"""From the strongest on."""
_ATTEMPTS = 2

MEND = """Mend one of these:
  namespaces: allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces > 0;
    Ubuntu: kernel.apparmor_restrict_unprivileged_userns=0), or run the container with --security-opt seccomp=unconfined;
  landlock: Linux >= 5.13 with landlock among the security modules (lsm=landlock,...), and a container runtime that lets it pass;
  seccomp: a kernel with seccomp filters, on x86_64 or aarch64.
Or score programs elsewhere, with HTTPSandbox. `isolation: none` runs them with limits on CPU, memory and output only: they can
read and write your files, use the network and end your processes."""
"""What to do on a machine that cannot confine a program."""


_ALL: "weakref.WeakSet[LocalSandbox]" = weakref.WeakSet()


class LocalSandbox(Sandbox):
    """Runs each program in a fresh process, forked from a confined interpreter.

    A program has no network, no other processes, no file but a read-only Python library, no environment variable, and nothing it
    could open for writing. The same kernel serves it: bugs of the kernel and of the processor are out of scope.

    Copies and pickles carry the configuration only. Processes start with the first `run`.

    Args:
        num_workers: programs that run at once; null for one per CPU.
        isolation: `strongest` takes the first of `namespaces`, `landlock` and `seccomp` that this machine offers and that passes
            a self-test. `none` does not isolate at all, and warns at each start.
        preload: modules beside the standard library that programs may import, with their submodules by name. Like the less
            usual part of the library, they are loaded in separate processes, which start when a program first mentions one.
    """

    _chosen: str

    def __init__(
        self, num_workers: int | None = None, isolation: Isolation = "strongest", preload: Sequence[str] = DEFAULT_PRELOAD
    ) -> None:
        if num_workers is not None and num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        if isolation not in get_args(Isolation):
            raise ValueError(f"isolation must be one of {', '.join(get_args(Isolation))}, got {isolation!r}")
        self.num_workers = num_workers
        self.isolation = isolation
        self.preload = list(preload)
        self._runtime = Runtime(self.preload)
        self._reset()
        _ALL.add(self)

    def __reduce__(self) -> tuple[type["LocalSandbox"], tuple[int | None, Isolation, list[str]]]:
        return LocalSandbox, (self.num_workers, self.isolation, self.preload)

    def run(self, jobs: Sequence[Job], limits: Limits) -> list[Outcome]:
        """Run every job in a process of its own; see `Sandbox.run`.

        Raises:
            ValueError: a job's arguments are not a JSON list.
            SandboxUnavailable: the isolation asked for cannot be had, or failed its self-test.
        """
        for job in jobs:
            check_arguments(job)
        isolation = self.start()
        if len(jobs) == 1:
            return [self._run_one(jobs[0], limits, isolation)]
        return list(self._executor.map(lambda job: self._run_one(job, limits, isolation), jobs))

    def start(self) -> str:
        """Start the first worker, unless one has been started, and return the isolation in use.

        Raises:
            SandboxUnavailable: as `run`.
        """
        with self._lock:
            if not self._chosen:
                slot = self._slots.get()
                try:
                    self._chosen = self._choose(slot)
                finally:
                    self._slots.put(slot)
            return self._chosen

    def close(self) -> None:
        """End all processes, once each has finished its job. The next `run` starts new ones."""
        with self._lock:
            slots = [self._slots.get() for _ in range(self._num_slots)]
            for slot in slots:
                slot.stop()
                self._slots.put(slot)
            self._chosen = ""

    def _reset(self) -> None:
        """Have no workers: at the start, and after a fork, when they belong to the other process."""
        self._num_slots = self.num_workers or num_cpus()
        self._lock = threading.Lock()
        self._chosen = ""
        self._executor = ThreadPoolExecutor(self._num_slots, "sandbox")
        self._slots: queue.Queue[_Slot] = queue.Queue()
        for _ in range(self._num_slots):
            self._slots.put(_Slot(self._runtime))

    def _choose(self, slot: "_Slot") -> str:
        """Start a worker with the strongest isolation that works here and return its name."""
        if sys.platform != "linux":
            raise SandboxUnavailable(f"LocalSandbox needs Linux, this is {sys.platform}: score programs with HTTPSandbox")
        if self.isolation == "none":
            _log.warning(
                "LocalSandbox(isolation='none'): programs are not isolated; they can read your files and use the network"
            )
            return "none"
        reasons = []
        for isolation in STRENGTHS if self.isolation == "strongest" else (self.isolation,):
            try:
                problem = self_test(slot.worker(isolation, has_all=False))
            except (ConfinementUnavailable, WorkerDied) as error:
                problem = str(error)
            if not problem:
                return isolation
            slot.stop()
            reasons.append(f"  {isolation}: {problem}")
        raise SandboxUnavailable("\n".join(["this machine cannot confine a program:", *reasons, MEND]))

    def _run_one(self, job: Job, limits: Limits, isolation: str) -> Outcome:
        if reason := why_rejected(job, limits):
            return Outcome("rejected", detail=reason)
        has_all = self._runtime.needs_unusual("\n".join((job.prelude, job.code, job.asserts)))
        slot = self._slots.get()
        try:
            problem = ""
            for _ in range(_ATTEMPTS):
                try:
                    return run_job(slot.worker(isolation, has_all), job, limits)
                except (WorkerDied, ConfinementUnavailable, OSError) as error:
                    problem = f"{type(error).__name__}: {error}"
                    slot.stop()
            return Outcome("infra", detail=problem)
        finally:
            self._slots.put(slot)


class _Slot:
    """Room for one running job: a zygote with the usual modules, and one with all of them, each started when needed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._workers: dict[bool, Worker] = {}

    def worker(self, isolation: str, has_all: bool) -> Worker:
        if has_all not in self._workers:
            modules = self._runtime.usual + (self._runtime.unusual if has_all else [])
            self._workers[has_all] = Worker(isolation, modules, self._runtime.paths if has_all else [])
        return self._workers[has_all]

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.stop()
        self._workers.clear()


def _reset_all() -> None:
    for sandbox in list(_ALL):
        sandbox._reset()


os.register_at_fork(after_in_child=_reset_all)
