"""What data needs to know of the process group: who am I, and what did the others produce."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The place of a process among those that share the data."""

    rank: int = 0
    world_size: int = 1

    def share(self, items: Sequence[T]) -> list[T]:
        """Return this rank's items: every `world_size`-th one."""
        return list(items[self.rank :: self.world_size])

    def gather(self, mine: Sequence[T]) -> list[T]:
        """Return the items of all ranks in their original order, on every rank. A collective: every rank must call it."""
        if self.world_size == 1:
            return list(mine)
        shares: list[list[T]] = [[] for _ in range(self.world_size)]
        dist.all_gather_object(shares, list(mine))
        total = sum(map(len, shares))
        return [shares[i % self.world_size][i // self.world_size] for i in range(total)]
