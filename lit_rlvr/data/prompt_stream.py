"""An endless, seeded, resumable order of rows."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from lit_rlvr.batching import shuffled
from lit_rlvr.seeding import derive_seed

T = TypeVar("T")


class ShuffledStream(Generic[T]):
    """Goes through the rows in a new random order each pass, for ever.

    The only state is `drawn`, how many rows have been handed out: pass and position follow from it, across epoch boundaries too.

    Args:
        rows: what to draw from.
        seed: decides the order of every pass.
    """

    def __init__(self, rows: Sequence[T], seed: int) -> None:
        if not rows:
            raise ValueError("there are no rows to draw from")
        self.rows = rows
        self.seed = seed
        self.drawn = 0

    def draw(self, count: int) -> list[T]:
        """Return the next `count` rows."""
        taken: list[T] = []
        while len(taken) < count:
            completed, position = divmod(self.drawn, len(self.rows))
            order = shuffled(len(self.rows), derive_seed(self.seed, "order", completed))
            chosen = order[position : position + count - len(taken)].tolist()
            taken += [self.rows[i] for i in chosen]
            self.drawn += len(chosen)
        return taken
