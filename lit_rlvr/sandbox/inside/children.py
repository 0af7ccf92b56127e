"""Watching running programs from the zygote: CPU seconds decide, seconds on the clock are the backstop."""

import contextlib
import os
import select
import signal
import time
from typing import Any

_SHORTEST_WAIT = 0.003
_WAIT_WITHOUT_PIDFD = 0.004
_WAIT_AFTER_KILL = 0.05


class Child:
    """One running program.

    Args:
        process_id: of the forked process.
        ends_job: whether the other processes of the job are killed when this one ends.
        cpu_s: CPU seconds after which it is killed.
        wall_s: seconds on the clock after which it is killed.
        started: `time.monotonic()` before the fork.
    """

    def __init__(self, process_id: int, ends_job: bool, cpu_s: float, wall_s: float, started: float) -> None:
        self.process_id = process_id
        self.ends_job = ends_job
        self.ending: dict[str, Any] = {}
        self._cpu_s = cpu_s
        self._wall_s = wall_s
        self._started = started
        self._killed = ""
        self._cpu_clock = (~process_id << 3) | 2  # the kernel's number for the CPU clock of another process
        self._cpus = len(os.sched_getaffinity(0))
        try:
            self.descriptor = os.pidfd_open(process_id)
        except OSError:
            self.descriptor = -1

    def kill(self, reason: str) -> None:
        """Kill it and remember the first reason."""
        if not self._killed:
            self._killed = reason
            os.kill(self.process_id, signal.SIGKILL)

    def enforce(self) -> float:
        """Kill it if it is past a limit; return the seconds until it can next be past one."""
        if self._killed:
            return _WAIT_AFTER_KILL
        cpu_left = self._cpu_s
        with contextlib.suppress(OSError):  # it ended in between
            cpu_left -= time.clock_gettime(self._cpu_clock)
        wall_left = self._started + self._wall_s - time.monotonic()
        if cpu_left <= 0 or wall_left <= 0:
            self.kill("cpu" if cpu_left <= 0 else "wall")
            return _WAIT_AFTER_KILL
        wait = max(min(cpu_left / self._cpus, wall_left), _SHORTEST_WAIT)
        return wait if self.descriptor >= 0 else min(wait, _WAIT_WITHOUT_PIDFD)

    def reap(self) -> bool:
        """Collect it if it has ended, and return whether it has."""
        process_id, status, usage = os.wait4(self.process_id, os.WNOHANG)
        if process_id:
            cpu_s = usage.ru_utime + usage.ru_stime
            wall_s = time.monotonic() - self._started
            self.ending = {"status": status, "killed": self._killed, "cpu_s": cpu_s, "wall_s": wall_s}
            if self.descriptor >= 0:
                os.close(self.descriptor)
        return bool(process_id)


def watch(children: list[Child], link: int, parent: int) -> None:
    """Return when all have ended; end this process, and with it all children, when nobody waits for them any more."""
    poller = select.poll()
    for descriptor in [child.descriptor for child in children] + [parent]:
        if descriptor >= 0:
            poller.register(descriptor, select.POLLIN)
    poller.register(link, 0)  # hang-up only
    running = list(children)
    while running:
        wait = min(child.enforce() for child in running)
        if any(descriptor in (link, parent) for descriptor, _ in poller.poll(wait * 1000)):
            _abandon(running)
        for child in [child for child in running if child.reap()]:
            running.remove(child)
            if child.descriptor >= 0:
                poller.unregister(child.descriptor)
            for other in running if child.ends_job else ():
                other.kill("ended")


def _abandon(children: list[Child]) -> None:
    for child in children:
        with contextlib.suppress(OSError):
            os.kill(child.process_id, signal.SIGKILL)
            os.waitpid(child.process_id, 0)  # where the trainer is process 1, nobody else would
    os._exit(0)
