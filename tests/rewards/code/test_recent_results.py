import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lit_rlvr.rewards.code.recent import RecentResults


def test_a_result_is_computed_once_however_many_ask() -> None:
    recent: RecentResults[int] = RecentResults(4)
    calls: list[int] = []

    def compute() -> int:
        calls.append(threading.get_ident())
        time.sleep(0.05)
        return 7

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: recent.get("key", compute), range(16))) == [7] * 16
    assert len(calls) == 1


def test_the_one_asked_for_longest_ago_goes_first() -> None:
    recent: RecentResults[str] = RecentResults(2)
    made: list[str] = []

    def ask(key: str) -> None:
        assert recent.get(key, lambda: made.append(key) or key) == key

    for key in "abacab":
        ask(key)
    assert made == ["a", "b", "c", "b"]


def test_errors_and_unwanted_results_are_not_remembered() -> None:
    recent: RecentResults[int] = RecentResults(2)
    with pytest.raises(KeyError, match="boom"):
        recent.get("key", lambda: {}["boom"])
    assert recent.get("key", lambda: 1, keep=lambda result: result != 1) == 1
    assert recent.get("key", lambda: 2) == 2
    assert recent.get("key", lambda: 3) == 2


def test_copies_start_empty() -> None:
    recent: RecentResults[int] = RecentResults(2)
    recent.get("key", lambda: 1)
    assert pickle.loads(pickle.dumps(recent)).get("key", lambda: 2) == 2
