"""Which version of the weights drew which token, while the weights may change between two decoding steps."""

from bisect import bisect_right
from collections.abc import Iterable


class VersionLog:
    """Remembers the steps at which the version changed, and the step at which each row drew its first token.

    A row draws one token per step from then on, so nothing has to be recorded per token.
    """

    def __init__(self) -> None:
        self._step = -1
        self._changed_at: list[int] = []
        self._versions: list[int] = []
        self._started: dict[int, int] = {}

    def begin_step(self, version: int) -> None:
        """Note the version that the next token of every row is drawn from."""
        self._step += 1
        if not self._versions or version != self._versions[-1]:
            self._changed_at.append(self._step)
            self._versions.append(version)

    def admit(self, rows: Iterable[int]) -> None:
        """Note rows that draw their first token in the present step."""
        self._started.update(dict.fromkeys(rows, self._step))

    @property
    def latest(self) -> int:
        """The version of the present step."""
        return self._versions[-1]

    def of(self, row: int, num_tokens: int) -> tuple[int, ...]:
        """Return the version of each of a row's tokens."""
        first = self._started[row]
        return tuple(self._versions[bisect_right(self._changed_at, first + i) - 1] for i in range(num_tokens))
