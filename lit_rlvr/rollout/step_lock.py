"""Taking turns: generation step by step, and updates of its weights in between."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class StepLock:
    """Lets an update in after the present step at the latest.

    A plain lock is not fair: who releases it and asks for it again at once, as decoding does, nearly always gets it again. So an
    update first closes a door that every step goes through.
    """

    def __init__(self) -> None:
        self._door = Lock()
        self._weights = Lock()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Hold the weights for one step."""
        with self._door:
            pass
        with self._weights:
            yield

    @contextmanager
    def update(self) -> Iterator[None]:
        """Hold the weights for an update."""
        with self._door, self._weights:
            yield
