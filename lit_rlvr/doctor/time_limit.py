"""Calls that may never return, in the main thread and in another one."""

import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How a call ended: a value, or an error, or neither when it did not end in time."""

    seconds: float
    value: T | None = None
    error: Exception | None = None
    is_late: bool = False


class _LateError(BaseException):
    """Raised in the main thread when its time is up; no `except Exception` of a verifier catches it."""


def in_another_thread(call: Callable[[], T], limit_s: float) -> Outcome[T]:
    """Call in a thread of its own. One that does not come back is left behind, and does not keep the process from ending."""
    results: queue.Queue[Outcome[T]] = queue.Queue()
    start = time.monotonic()
    threading.Thread(target=lambda: results.put(_outcome(call, start)), name="doctor", daemon=True).start()
    try:
        return results.get(timeout=limit_s)
    except queue.Empty:
        return Outcome(time.monotonic() - start, is_late=True)


def in_main_thread(call: Callable[[], T], limit_s: float) -> Outcome[T]:
    """Call here. When time is up a signal interrupts it, and its own alarms stay what they are.

    Called from another thread than the main one, this is a plain call without a limit.
    """
    start = time.monotonic()
    if threading.current_thread() is not threading.main_thread():
        return _outcome(call, start)

    def interrupt(signum: int, frame: object) -> None:
        raise _LateError

    before = signal.signal(signal.SIGUSR1, interrupt)
    watch = threading.Timer(limit_s, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
    watch.daemon = True
    try:
        watch.start()
        return _outcome(call, start)
    except _LateError:
        return Outcome(time.monotonic() - start, is_late=True)
    finally:
        watch.cancel()
        signal.signal(signal.SIGUSR1, before)


def _outcome(call: Callable[[], T], start: float) -> Outcome[T]:
    try:
        value = call()
    except Exception as error:  # a bug of the user's function is what is looked for
        return Outcome(time.monotonic() - start, error=error)
    return Outcome(time.monotonic() - start, value)
