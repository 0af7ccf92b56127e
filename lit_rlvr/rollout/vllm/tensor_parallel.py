"""Several ranks that hold one engine together: each has a part of every matrix, all of them run everybody's requests."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import torch.distributed as dist

from lit_rlvr.rollout.engine import SamplingParams

T = TypeVar("T")


class Request(NamedTuple):
    """One completion that is asked for."""

    token_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    stop_token_ids: tuple[int, ...]


@dataclass(frozen=True)
class EngineRanks:
    """The ranks of one engine; `k` consecutive ones of all."""

    size: int = 1
    rank: int = 0
    """Place of this process among them."""
    group: dist.ProcessGroup | None = None

    @staticmethod
    def of(size: int) -> "EngineRanks":
        """Return the ranks that share an engine with this one. A collective of all ranks where `size` is above 1.

        Raises:
            ValueError: the ranks cannot be shared out evenly.
        """
        if size == 1:
            return EngineRanks()
        found = dist.get_world_size() if dist.is_initialized() else 1
        if found % size:
            raise ValueError(
                f"data.engine.init_args.tensor_parallel_size={size} needs a multiple of {size} training processes that share their "
                f"engines, and there are {found}: set trainer.devices and trainer.num_nodes accordingly"
            )
        group, _ = dist.new_subgroups(size, backend="gloo", timeout=timedelta(days=1))
        return EngineRanks(size, dist.get_rank() % size, group)

    def part(self) -> None:
        """End the group of these ranks."""
        if self.group is not None and dist.is_initialized():
            dist.destroy_process_group(self.group)

    def gather(self, mine: T) -> list[T]:
        """Return what each rank of the engine has, in their order. A collective of these ranks."""
        if self.size == 1:
            return [mine]
        everybodys: list[T] = [mine] * self.size
        dist.all_gather_object(everybodys, mine, group=self.group)
        return everybodys

    def executor(self, on_cpu: bool) -> Any:
        """Return who runs vLLM's worker: this process, and on a GPU one that can be told which of the visible ones is its own.

        A collective of these ranks.
        """
        if not on_cpu:
            return "external_launcher"
        if self.size == 1:
            return "uni"
        from vllm.v1.executor.uniproc_executor import ExecutorWithExternalLauncher

        name = self.gather(uuid4().hex)[0]

        class NamedLauncher(ExecutorWithExternalLauncher):
            """vLLM names shared memory after the place where processes meet: the same for all engines of a machine, otherwise."""

            def _distributed_args(self) -> tuple[str, int, int]:
                _, rank, local_rank = super()._distributed_args()
                return f"file:///lit-{name}", rank, local_rank

        return NamedLauncher

    def share(self, make: Callable[[], list[Request]]) -> tuple[list[Request], range]:
        """Return everybody's requests, and which of them are this rank's.

        Raises:
            ValueError: what `make` raised.
            RuntimeError: what it raised on another rank of the engine.
        """
        mine: list[Request] = []
        failure: ValueError | None = None
        try:
            mine = make()
        except ValueError as error:
            failure = error
        answers = self.gather((mine, None if failure is None else str(failure)))
        if failure is not None:
            raise failure
        messages = [message for _, message in answers if message is not None]
        if messages:
            raise RuntimeError(f"another rank of the same engine was asked for what it cannot do: {messages[0]}")
        first = sum(len(requests) for requests, _ in answers[: self.rank])
        return [request for requests, _ in answers for request in requests], range(first, first + len(mine))
