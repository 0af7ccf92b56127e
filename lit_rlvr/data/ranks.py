"""What data needs to know of the process group: who am I, and what did the others produce."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The place of a process among those that share the data."""

    rank: int = 0
    world_size: int = 1
    group: dist.ProcessGroup | None = None
    """The process group that it talks to the others through; None for the Trainer's."""

    def check_process_group(self) -> None:
        """Compare the number of ranks with torch's process group.

        Raises:
            RuntimeError: they differ. The Trainer takes a process group that it finds for its own, and then gradients are averaged
                over that one only.
        """
        found = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if found != self.world_size:
            raise RuntimeError(
                f"the Trainer has {self.world_size} processes, but torch's process group of this one has {found}: gradients would be "
                f"averaged over {found} only, without a word. Something made that group before the Trainer could, such as a rollout "
                "engine that was given weights before fit or validate: let the Trainer's run build the engine, or end the group with "
                "torch.distributed.destroy_process_group()"
            )

    def on_own_group(self) -> "Ranks":
        """Return the same place with a process group of its own over CPU tensors, for a thread that talks while others do.

        A collective: every rank must call it. Waiting for a slow rank may take a day.
        """
        if self.world_size == 1:
            return self
        return replace(self, group=dist.new_group(backend="gloo", timeout=timedelta(days=1)))

    def leave_own_group(self) -> None:
        """Take down the process group that `on_own_group` has made."""
        if self.group is not None and dist.is_initialized():
            dist.destroy_process_group(self.group)

    def share(self, items: Sequence[T]) -> list[T]:
        """Return this rank's items: every `world_size`-th one."""
        return list(items[self.rank :: self.world_size])

    def gather_from(self, work: Callable[[], Sequence[T]]) -> list[T]:
        """Return what `work` makes of the shares of all ranks, in the original order, on every rank. A collective.

        Where it raises on one rank, all ranks raise: nobody waits for a share that will not come.

        Raises:
            Exception: what `work` raised here.
            RuntimeError: it raised on another rank; the message has the traceback.
        """
        if self.world_size == 1:
            return list(work())
        failure: Exception | None = None
        mine: tuple[list[T], str] = [], ""
        try:
            mine = list(work()), ""
        except Exception as error:
            failure, mine = error, ([], "".join(traceback.format_exception(error)))
        outcomes = [mine] * self.world_size
        dist.all_gather_object(outcomes, mine, group=self.group)
        if failure is not None:
            raise failure
        for rank, (_, report) in enumerate(outcomes):
            if report:
                raise RuntimeError(f"rank {rank} could not do its share:\n{report}")
        shares = [items for items, _ in outcomes]
        return [shares[i % self.world_size][i // self.world_size] for i in range(sum(map(len, shares)))]
