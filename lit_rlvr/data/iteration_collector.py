"""Where the groups of the next iteration come from: the interface, and the plain way, from the current weights when asked."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch import Trainer

from lit_rlvr.advantages import AdvantageEstimator
from lit_rlvr.data.collecting import CollectedGroups, collect_groups
from lit_rlvr.data.prompt_stream import ShuffledStream
from lit_rlvr.data.ranks import Ranks
from lit_rlvr.data.settings import IterationConfig
from lit_rlvr.rollout.collector import Collector
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.filters import GroupFilter
from lit_rlvr.types import Prompt, RolloutGroup


@dataclass(frozen=True)
class Collection:
    """The groups of one iteration, and how they came about."""

    groups: CollectedGroups
    seconds: float
    """How long generating and judging took."""
    end: int
    """Prompts drawn from the stream when it was complete."""
    statistics: Mapping[str, float] = field(default_factory=dict)
    """Of the staleness of its tokens; empty where they come from the current weights."""


@dataclass(frozen=True)
class IterationRecipe:
    """How an iteration is collected."""

    collector: Collector
    """Generates and judges a rank's share."""
    stream: ShuffledStream[Prompt]
    """Where prompts are drawn from."""
    config: IterationConfig
    sampling: SamplingParams
    filters: Sequence[GroupFilter]
    """A group that any of them rejects is not trained on."""
    advantages: AdvantageEstimator

    def collect(self, iteration: int, ranks: Ranks, sample: Callable[..., list[RolloutGroup]]) -> Collection:
        """Draw prompts, and share them among the ranks for groups of them, until the iteration is complete. A collective.

        `sample` is `Collector.collect`, or `Collector.sample` where the engine has its weights already.
        """
        start, size = time.perf_counter(), self.config.group_size

        def generate(prompts: Sequence[Prompt], draws: Sequence[int]) -> list[RolloutGroup]:
            mine, my_draws = ranks.share(prompts), ranks.share(draws)
            return ranks.gather_from(lambda: sample(mine, size, self.sampling, "rollout", iteration, my_draws))

        groups = collect_groups(generate, self.stream, self.config, self.filters, self.advantages)
        return Collection(groups, time.perf_counter() - start, self.stream.drawn)


class IterationCollector(ABC):
    """Hands out the groups of each iteration, in their order, on every rank.

    Args:
        recipe: how they are collected.
    """

    def __init__(self, recipe: IterationRecipe) -> None:
        self.recipe = recipe
        self.collector = recipe.collector
        self.stream = recipe.stream

    @property
    @abstractmethod
    def prompts_taken(self) -> int:
        """Prompts drawn for the iterations that were handed out."""

    @abstractmethod
    def take(self, iteration: int, num_more: float, ranks: Ranks) -> Collection:
        """Return an iteration, after which at most `num_more` are wanted. A collective, in the main thread."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any] | None, prompts_taken: int) -> None:
        """Go on where `state_dict` was taken, by a collector of any kind, after so many prompts."""

    def state_dict(self) -> dict[str, Any] | None:
        """Return what is there beyond the iterations that were handed out."""
        return None

    def wait(self) -> None:
        """Wait until the engine is free for something else."""
        return None

    def stop(self) -> None:
        """Collect no further."""
        return None


class OnDemandCollector(IterationCollector):
    """Collects an iteration when it is taken, from the current weights."""

    @property
    def prompts_taken(self) -> int:
        """Prompts drawn for the iterations that were handed out."""
        return self.stream.drawn

    def take(self, iteration: int, num_more: float, ranks: Ranks) -> Collection:
        """Collect and return an iteration."""
        collection = self.recipe.collect(iteration, ranks, self.collector.collect)
        self.collector.engine.release_memory()
        return collection

    def load_state_dict(self, state: Mapping[str, Any] | None, prompts_taken: int) -> None:
        """Go on after so many prompts. Iterations that another kind of collector had collected ahead are collected again."""
        self.stream.drawn = prompts_taken


def iterations_left(trainer: Trainer | None, optimizer_steps: int) -> float:
    """Return how many iterations of so many optimizer steps the run trains on after the present one, at most."""
    if trainer is None:
        return math.inf
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs - trainer.current_epoch
    steps = math.inf if trainer.max_steps < 0 else -(-(trainer.max_steps - trainer.global_step) // optimizer_steps)
    return max(min(epochs, steps) - 1, 0)
