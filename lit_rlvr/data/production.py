"""Numbered items, made one after the other by a single background thread."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

TICK_SECONDS = 0.2
"""How often a thread that waits looks up."""


class Production(Generic[T]):
    """Makes items in a background thread, in the order in which they were asked for.

    After an item that could not be made no other is tried: all that were asked for raise its error. The thread is a daemon: a
    process that ends does not wait for it.

    Args:
        make: makes the item of a number.
        name: of the thread.
    """

    def __init__(self, make: Callable[[int], T], name: str) -> None:
        self._make = make
        self._items: dict[int, Future[T]] = {}
        self._ordered: SimpleQueue[int | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def __contains__(self, number: int) -> bool:
        """Whether the item was asked for and not taken yet."""
        return number in self._items

    def submit(self, number: int) -> None:
        """Ask for an item, unless that was done already."""
        if number not in self._items:
            self._items[number] = Future()
            self._ordered.put(number)

    def put(self, number: int, item: T) -> None:
        """Lay in an item that need not be made."""
        self._items[number] = Future()
        self._items[number].set_result(item)

    def take(self, number: int, meanwhile: Callable[[], None]) -> T:
        """Return an item that was asked for; it is forgotten here. Waits for it, and calls `meanwhile` now and then.

        Raises:
            BaseException: whatever the thread raised, with its own traceback.
        """
        while not wait([self._items[number]], TICK_SECONDS).done:
            meanwhile()
        return self._items.pop(number).result()

    def wait_for_all(self) -> None:
        """Wait until nothing is being made.

        Raises:
            BaseException: whatever the thread raised, with its own traceback.
        """
        for item in list(self._items.values()):
            item.result()

    def finished(self) -> dict[int, T]:
        """Return the items that are made and not taken yet, by number."""
        done = {number: item for number, item in self._items.items() if item.done()}
        return {number: item.result() for number, item in done.items() if item.exception() is None}

    def stop(self, patience: float) -> bool:
        """Let the thread end after what was asked for, and wait for that at most so many seconds; return whether it has ended."""
        self._ordered.put(None)
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (number := self._ordered.get()) is not None:
            item = self._items[number]
            if self._error is None:
                try:
                    item.set_result(self._make(number))
                    continue
                except BaseException as error:
                    self._error = error
            item.set_exception(self._error)
