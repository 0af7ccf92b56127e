"""Sized loaders that generate lazily.

Lightning builds iterators early and several times, and prefetches from a loader without a length: both would sample from weights
that are not there yet. So nothing happens before the first `next`, and the length is known in advance.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class LazyLoader(Generic[T]):
    """A loader of known length over an iterator that is made anew for each epoch.

    Args:
        length: number of batches the iterator gives.
        iterate: makes the iterator; its first `next` does the work.
    """

    def __init__(self, length: int, iterate: Callable[[], Iterator[T]]) -> None:
        self._length = length
        self._iterate = iterate

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self._length

    def __iter__(self) -> Iterator[T]:
        """Start an epoch; nothing is generated before the first `next`."""
        return self._iterate()
