"""A scripted engine that tells who asked it for what and when, and a run of collecting and training by hand."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch

from lit_rlvr.advantages import GroupRelative
from lit_rlvr.data.ahead import AheadCollector
from lit_rlvr.data.asynchronous import AsyncConfig
from lit_rlvr.data.iteration_collector import Collection, IterationCollector, IterationRecipe, OnDemandCollector
from lit_rlvr.data.prompt_stream import ShuffledStream
from lit_rlvr.data.ranks import Ranks
from lit_rlvr.data.settings import IterationConfig
from lit_rlvr.rewards import RewardFunction, Rubric
from lit_rlvr.rollout.collector import Collector
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.tasks import character_tokenizer
from lit_rlvr.types import Completion, Prompt, RolloutBatch

TOKENIZER = character_tokenizer()
PATIENCE = 10.0
STEPS = 4
"""Optimizer steps of an iteration."""
NUM_TOKENS = 6


@dataclass
class Policy:
    """A policy without weights: the scripted engine looks at versions only."""

    model: torch.nn.Module = field(default_factory=lambda: torch.nn.Linear(1, 1))
    compute_dtype: torch.dtype = torch.float32

    def forward_context(self):
        raise NotImplementedError

    def unsharded(self):
        raise NotImplementedError

    def named_weights(self):
        return iter(())

    def token_logprobs(self, prompts, completions, temperature):
        raise NotImplementedError

    def score(self, batch: RolloutBatch) -> RolloutBatch:
        return batch


class NumberOfTokens(RewardFunction):
    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        return float(len(completion.token_ids) + len(prompt.id))


class ScriptedEngine(RolloutEngine):
    """Generates token after token, with the version that it holds at each, in whatever thread; notes whatever could go wrong."""

    can_overlap = True

    def __init__(self, can_update_midway: bool = False) -> None:
        self.can_update_midway = can_update_midway
        self.before_token: Callable[[int], None] = lambda token: None
        """Called before each token of a call to generate."""
        self.is_generating = False
        self.updates: list[int] = []
        self.calls: list[tuple[list[str], list[list[int]], int]] = []
        """Prompt ids, seeds, and version of the weights at its start, of each call to generate."""
        self.threads: set[str] = set()

    def update_weights(self, policy, version) -> None:
        assert self.can_update_midway or not self.is_generating, "weights came while completions were in progress"
        assert threading.current_thread() is threading.main_thread()
        self.updates.append(version)
        self.weight_version = version

    def generate(self, prompts, params, seeds, stop_token_ids) -> list[list[Completion]]:
        assert not self.is_generating, "two at the same time"
        self.is_generating = True
        self.threads.add(threading.current_thread().name)
        self.calls.append(([p.id for p in prompts], [list(row) for row in seeds], self.weight_version))
        try:
            versions = tuple(self._version_of(token) for token in range(NUM_TOKENS))
            made = [[self._completion(versions, seed) for seed in row] for row in seeds]
            for p, row in enumerate(made):
                for g, completion in enumerate(row):
                    if self.on_completion is not None:
                        self.on_completion(p, g, completion)
                if self.on_progress is not None:
                    self.on_progress(p + 1, len(made))
        finally:
            self.is_generating = False
        return made

    def _version_of(self, token: int) -> int:
        self.before_token(token)
        return self.weight_version

    def _completion(self, versions: tuple[int, ...], seed: int) -> Completion:
        tokens = tuple(5 + (seed + i) % 7 for i in range(NUM_TOKENS))
        is_mixed = len(set(versions)) > 1
        return Completion(tokens, (-0.5,) * NUM_TOKENS, "stop", versions[0], token_versions=versions if is_mixed else ())


class Training:
    """Iterations taken one by one, each followed by optimizer steps that are none."""

    def __init__(self, engine: RolloutEngine, asynchronous: AsyncConfig, num_prompts: int = 10, **sizes: int) -> None:
        self.version, self.iteration = 0, 0
        prompts = [Prompt(f"p{i}", ({"role": "user", "content": "?"},), token_ids=(5, 6)) for i in range(num_prompts)]
        self.engine, self.stream = engine, ShuffledStream(prompts, seed=3)
        self.rubric = Rubric({"length": NumberOfTokens()}, num_threads=2)
        self.collector = Collector(engine, self.rubric, TOKENIZER, [TOKENIZER.eos_token_id], seed=1)
        config = IterationConfig(**{"num_prompts": 4, "group_size": 2} | sizes)
        recipe = IterationRecipe(self.collector, self.stream, config, SamplingParams(), [], GroupRelative())
        is_ahead = asynchronous.max_staleness > 0
        self.source: IterationCollector = AheadCollector(recipe, asynchronous) if is_ahead else OnDemandCollector(recipe)
        self.collector.connect(Policy(), lambda: self.version)

    def take(self, num_more: float = 100) -> Collection:
        collection = self.source.take(self.iteration, num_more, Ranks())
        self.iteration += 1
        return collection

    def run(self, iterations: int) -> list[Collection]:
        """Take so many iterations, and train on each."""
        taken = []
        for remaining in range(iterations - 1, -1, -1):
            taken.append(self.take(remaining))
            self.version += STEPS
        return taken

    def resumed(self, engine: RolloutEngine, asynchronous: AsyncConfig, state: dict) -> "Training":
        """The run that goes on from what was stored at a checkpoint."""
        other = Training(engine, asynchronous)
        other.version, other.iteration = self.version, self.iteration
        other.source.load_state_dict(state["ahead"], state["prompts_drawn"])
        return other

    def state(self) -> dict:
        return {"ahead": self.source.state_dict(), "prompts_drawn": self.source.prompts_taken}


def prompt_ids(collections: Sequence[Collection]) -> list[list[str]]:
    return [[group.prompt.id for group in collection.groups.seen] for collection in collections]


def versions(collection: Collection) -> set[int]:
    completions = [r.completion for group in collection.groups.seen for r in group.rollouts]
    return {version for c in completions for version in (c.token_versions or (c.weight_version,))}


def is_sorted(numbers: Sequence[int]) -> bool:
    return all(a <= b for a, b in pairwise(numbers))
