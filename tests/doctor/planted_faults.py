"""Classes that configurations of the tests name, each with one fault that spoils a run without a word."""

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from typing import Any

from lit_rlvr.rewards import ExactAnswer, RewardFunction, SelfTest
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.types import Completion, Prompt, Verdict


class Snapshot:
    """A policy with weights that stay as they are."""

    def __init__(self, policy: Any) -> None:
        self.model = deepcopy(policy.model)
        self.forward_context = policy.forward_context
        self.compute_dtype = policy.compute_dtype
        self.token_logprobs, self.score = policy.token_logprobs, policy.score
        self.unsharded = nullcontext
        self.named_weights = self.model.named_parameters


class Deaf(EmbeddedEngine):
    """Takes the first weights it is given, and no others."""

    first: Any = None

    def update_weights(self, policy: Any, version: int) -> None:
        self.first = self.first or Snapshot(policy)
        super().update_weights(self.first, version)


class RemembersResults(EmbeddedEngine):
    """Answers a request that it has seen before with what it answered then, whatever the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[Any, Completion] = {}

    def generate(self, prompts: Sequence[Prompt], params: Any, seeds: Any, stop_token_ids: Any) -> list[list[Completion]]:
        fresh = super().generate(prompts, params, seeds, stop_token_ids)
        return [
            [
                replace(self.seen.setdefault((prompt.token_ids, seed, params), completion), weight_version=self.weight_version)
                for seed, completion in zip(row_seeds, row, strict=True)
            ]
            for prompt, row_seeds, row in zip(prompts, seeds, fresh, strict=True)
        ]


class KeepsPrefixes(EmbeddedEngine):
    """Computes prompts of a whole block or more with the weights under which it first saw them."""

    def __init__(self, block: int = 128) -> None:
        super().__init__()
        self.block = block
        self.seen: dict[tuple[int, ...], EmbeddedEngine] = {}

    def update_weights(self, policy: Any, version: int) -> None:
        super().update_weights(policy, version)
        self.current = policy

    def generate(self, prompts: Sequence[Prompt], params: Any, seeds: Any, stop_token_ids: Any) -> list[list[Completion]]:
        rows = []
        for prompt, row_seeds in zip(prompts, seeds, strict=True):
            beginning = prompt.token_ids[: self.block]
            if len(beginning) < self.block:
                rows += super().generate([prompt], params, [row_seeds], stop_token_ids)
                continue
            if beginning not in self.seen:
                self.seen[beginning] = EmbeddedEngine()
                self.seen[beginning].update_weights(Snapshot(self.current), 0)
            (row,) = self.seen[beginning].generate([prompt], params, [row_seeds], stop_token_ids)
            rows.append([replace(completion, weight_version=self.weight_version) for completion in row])
        return rows


class OneSeed(EmbeddedEngine):
    """Samples every member of a group with the seed of the first."""

    def generate(self, prompts: Sequence[Prompt], params: Any, seeds: Any, stop_token_ids: Any) -> list[list[Completion]]:
        return super().generate(prompts, params, [[row[0]] * len(row) for row in seeds], stop_token_ids)


class RawLogprobs(EmbeddedEngine):
    """Reports log-probs of softmax(logits) as those of what it sampled from."""

    def update_weights(self, policy: Any, version: int) -> None:
        super().update_weights(policy, version)
        self.scorer = policy

    def generate(self, prompts: Sequence[Prompt], params: Any, seeds: Any, stop_token_ids: Any) -> list[list[Completion]]:
        rows = super().generate(prompts, params, seeds, stop_token_ids)
        pairs = [(prompt.token_ids, c.token_ids) for prompt, row in zip(prompts, rows, strict=True) for c in row]
        raw = iter(self.scorer.token_logprobs([p for p, _ in pairs], [c for _, c in pairs], 1.0))
        return [[replace(completion, logprobs=tuple(next(raw))) for completion in row] for row in rows]


class HonestlyRaw(RawLogprobs):
    """Reports the same, and says so."""

    def generate(self, prompts: Sequence[Prompt], params: Any, seeds: Any, stop_token_ids: Any) -> list[list[Completion]]:
        rows = super().generate(prompts, params, seeds, stop_token_ids)
        return [[replace(c, semantics=replace(c.semantics, is_processed=False)) for c in row] for row in rows]


class LosesStopTokens(EmbeddedEngine):
    """Leaves the stop token out of what it returns."""

    def generate(self, prompts: Sequence[Prompt], params: Any, seeds: Any, stop_token_ids: Any) -> list[list[Completion]]:
        def cut(c: Completion) -> Completion:
            ends = c.finish_reason == "stop" and len(c.token_ids) > 1
            return replace(c, token_ids=c.token_ids[:-1], logprobs=c.logprobs[:-1]) if ends else c

        rows = super().generate(prompts, params, seeds, stop_token_ids)
        return [[cut(completion) for completion in row] for row in rows]


class Breaks(EmbeddedEngine):
    """Has a bug."""

    def generate(self, prompts: Sequence[Prompt], params: Any, seeds: Any, stop_token_ids: Any) -> list[list[Completion]]:
        raise KeyError("slot 3")


class UnusedBonus(ExactAnswer):
    """Stores a setting and never looks at it."""

    def __init__(self, bonus_for_brevity: float = 0.0, require_stop: bool = True) -> None:
        super().__init__(require_stop=require_stop)
        if bonus_for_brevity < 0:
            raise ValueError(f"bonus_for_brevity must not be negative, got {bonus_for_brevity}")
        self.bonus_for_brevity = bonus_for_brevity


class HangsInThreads(RewardFunction):
    """Judges in the main thread, and never comes back in another."""

    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        if threading.current_thread() is not threading.main_thread():
            threading.Event().wait()
        return float(completion.text == "right")

    def self_test(self, prompt: Prompt) -> SelfTest:
        return SelfTest("right", "wrong", limit_s=0.3)


class PaysEverybody(RewardFunction):
    """Finds every answer right."""

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        return Verdict(1.0)

    def self_test(self, prompt: Prompt) -> SelfTest:
        return SelfTest("1", "2")


class Unexamined(RewardFunction):
    """Knows no text with a known outcome."""

    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        return float(len(completion.token_ids) % 2)
