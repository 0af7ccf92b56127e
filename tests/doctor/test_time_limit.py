"""Calls that never return are given up, in either thread."""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from lit_rlvr.doctor.time_limit import in_another_thread, in_main_thread

EITHER = pytest.mark.parametrize("call", [in_main_thread, in_another_thread])


@EITHER
def test_a_value_and_an_error_come_back(call: Callable[..., Any]) -> None:
    assert call(lambda: 3, 5.0).value == 3
    error = call(lambda: 1 / 0, 5.0).error
    assert isinstance(error, ZeroDivisionError)


@EITHER
def test_what_does_not_return_is_late(call: Callable[..., Any]) -> None:
    start = time.monotonic()
    outcome = call(threading.Event().wait, 0.2)
    assert outcome.is_late
    assert 0.1 < time.monotonic() - start < 5


def test_a_busy_loop_in_the_main_thread_is_interrupted_although_it_catches_exceptions() -> None:
    def stubborn() -> None:
        while True:
            try:
                sum(range(1000))
            except Exception:
                continue

    assert in_main_thread(stubborn, 0.2).is_late


def test_the_signal_handler_is_what_it_was() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    in_main_thread(lambda: None, 1.0)
    in_main_thread(threading.Event().wait, 0.05)
    assert signal.getsignal(signal.SIGUSR1) is before


def test_each_runs_in_its_thread() -> None:
    assert in_main_thread(threading.current_thread, 5.0).value is threading.main_thread()
    assert in_another_thread(threading.current_thread, 5.0).value is not threading.main_thread()
