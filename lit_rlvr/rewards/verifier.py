r"""Equivalence of two mathematical answers, decided by math-verify in a worker process that can be killed.

The worker descends from a fork server, never from the training process, and holds at most `MEMORY_LIMIT` more memory than it
starts with. Like every user of Python's fork server, a script that trains needs its `if __name__ == "__main__":` guard.
"""

import logging
import multiprocessing
import os
import queue
import re
import resource
import signal
import sys
from typing import Any

MEMORY_LIMIT = 2 * 1024**3
"""Bytes of address space a worker may add to what it starts with."""
PAIRS_PER_WORKER = 1000
"""A worker is replaced after this many pairs: symbolic caches only grow."""
START_ALLOWANCE = 120.0
"""Seconds a new worker may take to come up, on top of the time-out of its first pair."""
ORPHAN_GRACE = 5.0
"""Seconds past its time-out after which a worker ends itself, should nobody be left to kill it."""


class VerifierError(Exception):
    """The verifier could not judge: a time-out or a crash, not a wrong answer."""


class MathVerifier:
    """Judges pairs of answers in worker processes, from any thread.

    Args:
        timeout_s: seconds of wall-clock time after which a pair's worker is killed.
        num_workers: worker processes at most; each starts when it is first needed.
    """

    def __init__(self, timeout_s: float = 10.0, num_workers: int = 2) -> None:
        if not timeout_s > 0:
            raise ValueError(f"timeout_s must be positive, got {timeout_s}")
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        self.timeout_s = timeout_s
        self.num_workers = num_workers
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for _ in range(num_workers):
            self._idle.put(_Worker())

    def __reduce__(self) -> tuple[type["MathVerifier"], tuple[float, int]]:
        """Make copies and pickles carry the configuration only; each copy starts workers of its own."""
        return MathVerifier, (self.timeout_s, self.num_workers)

    def equivalent(self, gold: str, answer: str) -> bool:
        """Return whether `answer` means the same as `gold`.

        Raises:
            VerifierError: the pair took longer than `timeout_s`, more memory than allowed, or its worker died twice.
        """
        return bool(self._run(_equivalent, gold, answer))

    def parses(self, gold: str) -> bool:
        """Return whether math-verify reads `gold` as mathematics.

        Raises:
            VerifierError: as `equivalent`.
        """
        return bool(self._run(_parses, gold))

    def close(self) -> None:
        """Stop the workers, once each has finished its pair. The next call starts new ones."""
        workers = [self._idle.get() for _ in range(self.num_workers)]
        for worker in workers:
            worker.stop()
            self._idle.put(worker)

    def _run(self, function: Any, *texts: str) -> object:
        worker = self._idle.get()
        try:
            return worker.run(function, texts, self.timeout_s)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process with a pool of its own: when it dies, no other pair is touched. Used by one thread at a time."""

    def __init__(self) -> None:
        self._pool: Any = None

    def run(self, function: Any, texts: tuple[str, ...], timeout_s: float) -> object:
        """Return `function(*texts)`, evaluated in the process; a process that dies is replaced and asked once more."""
        shown, reason = repr(texts[-1][:80]), ""
        for _ in range(2):
            try:
                future = self._started_pool().schedule(_under_alarm, args=(timeout_s, function, *texts), timeout=timeout_s)
                return future.result(timeout=timeout_s + START_ALLOWANCE)
            except TimeoutError as error:
                if error.args:  # the pool killed the process; without arguments the wait itself ran out: the pool is stuck
                    raise VerifierError(f"verifier timed out after {timeout_s:g} s on {shown}") from None
                reason = f"no word from the worker in {timeout_s + START_ALLOWANCE:g} s"
            except MemoryError:
                raise VerifierError(f"verifier ran out of memory on {shown}") from None
            except (_pebble().ProcessExpired, RuntimeError, OSError) as error:
                reason = f"{type(error).__name__}: {error}"
            self.stop()
        raise VerifierError(f"verifier crashed twice on {shown} ({reason})")

    def stop(self) -> None:
        """Kill the process."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            pool.join()

    def _started_pool(self) -> Any:
        if self._pool is None:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__, "math_verify"])
            self._pool = _pebble().ProcessPool(1, max_tasks=PAIRS_PER_WORKER, initializer=_prepare_worker, context=context)
        return self._pool


def _pebble() -> Any:
    import pebble

    return pebble


def _prepare_worker() -> None:
    """Make the worker killable at once, silent and warm; on Linux also bounded in memory."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    _equivalent("x+1", r"\frac{2x+2}{2}")
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            in_use = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY_LIMIT, in_use + MEMORY_LIMIT))


def _under_alarm(timeout_s: float, function: Any, *texts: str) -> object:
    # the default action of the alarm ends the process from the kernel, even inside a single long big-integer operation
    signal.setitimer(signal.ITIMER_REAL, timeout_s + ORPHAN_GRACE)
    try:
        return function(*texts)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _equivalent(gold: str, answer: str) -> bool:
    from math_verify import verify

    parsed_gold, parsed_answer = _parse(gold), _parse(answer)
    if _differ_though_tiny(parsed_gold, parsed_answer):
        return False
    return bool(verify(parsed_gold, parsed_answer, allow_set_relation_comp=True, timeout_seconds=None))


def _parses(gold: str) -> bool:
    return any(not isinstance(item, str) for item in _parse(gold))


def _parse(text: str) -> list[Any]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    # math-verify reads an upright e as the unit "excess" and a fraction over it as half a fraction, and stumbles over x_{\max}
    text = re.sub(r"\\(?:mathrm|text|rm)\s*(?:\{\s*e\s*\}|(?<=\s)e(?![a-zA-Z]))", "{e}", text)
    text = re.sub(r"_\{\s*\\(max|min)\s*\}", r"_{\1}", text)
    if not re.search(r"\\boxed|\$|\\\(|\\\[", text):
        text = rf"\boxed{{{text}}}"
    config = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    return list(parse(text, extraction_config=config, parsing_timeout=None))


def _differ_though_tiny(gold: list[Any], answer: list[Any]) -> bool:
    """Return True for different numbers of which one is below 1e-4, where rounding to six decimals could make them equal."""
    from sympy import Expr

    numbers = [x for items in (gold, answer) for x in items[:1] if isinstance(x, Expr) and x.is_number]
    if len(numbers) != 2:
        return False
    try:
        first, second = (abs(number.evalf(30)) for number in numbers)
    except (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError):
        return False  # not a number after all
    if not (first.is_Float or first.is_zero) or not (second.is_Float or second.is_zero):
        return False
    if any(x.is_Float and x._prec == 1 for x in (first, second)):  # a zero that was not recognized as one: only noise is left
        return False
    return bool(min(first, second) < 1e-4 and abs(first - second) > 1e-6 * max(first, second))
