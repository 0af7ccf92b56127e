"""Seconds of named parts of a program, measured where they run."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Stopwatch:
    """Adds up the seconds and the calls of parts. A part within a part counts for itself only, so the sum counts nothing twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._running: list[str] = []
        self._since = 0.0

    def start(self, part: str) -> None:
        """Start a part; one that is running pauses."""
        self._charge()
        self._running.append(part)
        self.calls[part] += 1

    def stop(self) -> None:
        """Stop the latest part; the one it interrupted goes on."""
        self._charge()
        self._running.pop()

    def reset(self) -> None:
        """Forget what was measured."""
        self.seconds.clear()
        self.calls.clear()

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its calls timed."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.start(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.stop()

        return wrapper

    @contextmanager
    def watching(self, functions: list[tuple[str, Any, str]]) -> Iterator[None]:
        """Time functions while the context lasts, given as part, class or module, and name."""
        originals = [(owner, name, getattr(owner, name)) for _, owner, name in functions]
        try:
            for (part, owner, name), (_, _, function) in zip(functions, originals, strict=True):
                setattr(owner, name, self.timed(part, function))
            yield
        finally:
            for owner, name, function in originals:
                setattr(owner, name, function)
