"""The last few results of an expensive function, each computed once however many threads ask."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class RecentResults(Generic[Result]):
    """Remembers results by key. Threads that ask for a key in the making wait for it. Copies and pickles start empty.

    Args:
        size: results kept; the one asked for longest ago goes first.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._results: OrderedDict[Hashable, Future[Result]] = OrderedDict()

    def __reduce__(self) -> tuple[type["RecentResults[Result]"], tuple[int]]:
        """Carry the configuration only."""
        return RecentResults, (self.size,)

    def get(self, key: Hashable, compute: Callable[[], Result], keep: Callable[[Result], bool] = lambda _: True) -> Result:
        """Return the result of `key`, computing it unless it is known.

        Args:
            key: names the computation.
            compute: called without a lock held. What it raises reaches everybody who waits, and is not remembered.
            keep: whether a result shall be remembered.
        """
        with self._lock:
            future = self._results.get(key)
            is_mine = future is None
            if future is None:
                future = self._results[key] = Future()
            self._results.move_to_end(key)
            while len(self._results) > self.size:
                self._results.popitem(last=False)
        if is_mine:
            self._compute(key, future, compute, keep)
        return future.result()

    def _compute(
        self, key: Hashable, future: Future[Result], compute: Callable[[], Result], keep: Callable[[Result], bool]
    ) -> None:
        try:
            result = compute()
        except BaseException as error:
            self._forget(key, future)
            future.set_exception(error)
            return
        if not keep(result):
            self._forget(key, future)
        future.set_result(result)

    def _forget(self, key: Hashable, future: Future[Result]) -> None:
        with self._lock:
            if self._results.get(key) is future:
                del self._results[key]
