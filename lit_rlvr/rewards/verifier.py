r"""Equivalence of two mathematical answers, decided by math-verify in processes that can be killed."""

import os
import queue
import weakref
from functools import lru_cache
from typing import Any

from lit_rlvr.rewards.verifier_worker import GaveUpError, Worker

REMEMBERED = 4096
"""Outcomes that are kept: the members of a group often give the same answer."""


class MathVerifier:
    """Judges pairs of answers in processes of its own, from any thread and after any fork.

    Args:
        cpu_s: seconds of CPU time a pair may take; the kernel ends the process that takes more.
        wall_s: seconds of wall-clock time it may take, for a machine that gives the process no CPU.
        num_workers: processes at most; each starts when it is first needed.

    Raises:
        ValueError: a limit that is not positive, or no workers.
    """

    def __init__(self, cpu_s: float = 2.0, wall_s: float = 10.0, num_workers: int = 2) -> None:
        if not (cpu_s > 0 and wall_s > 0):
            raise ValueError(f"cpu_s and wall_s must be positive, got {cpu_s} and {wall_s}")
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        self.cpu_s = cpu_s
        self.wall_s = wall_s
        self.num_workers = num_workers
        self._outcome = lru_cache(REMEMBERED)(self._compare)
        self._forget_workers()
        _VERIFIERS.add(self)

    def __reduce__(self) -> tuple[type["MathVerifier"], tuple[float, float, int]]:
        """Make copies and pickles carry the configuration only; each copy starts processes of its own."""
        return MathVerifier, (self.cpu_s, self.wall_s, self.num_workers)

    def equivalent(self, gold: str, answer: str) -> bool:
        """Return whether `answer` means the same as `gold`.

        Raises:
            GaveUpError: the answer is too much for the verifier, which is otherwise fine.
            VerifierError: the verifier could not judge; not the answer's fault.
        """
        outcome = self._outcome(gold, answer)
        if isinstance(outcome, str):
            raise GaveUpError(outcome)
        return outcome

    def gold_problem(self, gold: str) -> str:
        """Return why the gold answer cannot be verified against, or an empty string.

        Raises:
            VerifierError: as `equivalent`.
        """
        try:
            return str(self._ask("gold_problem", gold))
        except GaveUpError as error:
            return str(error)

    def close(self) -> None:
        """Stop the processes, once each has finished its pair. The next call starts new ones."""
        workers = [self._idle.get() for _ in range(self.num_workers)]
        for worker in workers:
            worker.stop()
            self._idle.put(worker)

    def _compare(self, gold: str, answer: str) -> bool | str:
        """Return whether the two are equivalent, or why that is too much to ask."""
        try:
            return bool(self._ask("equivalent", gold, answer))
        except GaveUpError as error:
            return str(error)

    def _ask(self, function: str, *texts: str) -> Any:
        worker = self._idle.get()
        try:
            return worker.ask(function, *texts)
        finally:
            self._idle.put(worker)

    def _forget_workers(self) -> None:
        self._workers = [Worker(self.cpu_s, self.wall_s) for _ in range(self.num_workers)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)


_VERIFIERS: "weakref.WeakSet[MathVerifier]" = weakref.WeakSet()


def _start_afresh() -> None:
    """In a forked child: the processes belong to the parent, and its threads, which may hold locks, are not here."""
    for verifier in list(_VERIFIERS):
        verifier._forget_workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
