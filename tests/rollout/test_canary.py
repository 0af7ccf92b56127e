"""The canary, with an engine that is played by a function and a policy that is played by a list."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lit_rlvr.rollout.vllm.sync.canary import Canary, CanaryReport, Sample
from lit_rlvr.rollout.vllm.sync.proof import WeightSyncError
from lit_rlvr.types import RolloutBatch


class ScriptedPolicy:
    """Gives every token the same log-prob."""

    model = nn.Linear(1, 1)

    def __init__(self, logprob: float, compute_dtype: torch.dtype = torch.float32) -> None:
        self.logprob = logprob
        self.compute_dtype = compute_dtype

    def token_logprobs(
        self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], temperature: float
    ) -> list[list[float]]:
        assert temperature == 1.0
        return [[self.logprob] * len(row) for row in completions]

    def forward_context(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def unsharded(self) -> AbstractContextManager[None]:
        return nullcontext()

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        return iter(())

    def score(self, batch: RolloutBatch) -> RolloutBatch:
        return batch


def engine(logprob: float, cached: int = 0) -> Sample:
    return lambda prompt, max_tokens: ([1] * max_tokens, [logprob] * max_tokens, cached)


def canary(dtype: torch.dtype = torch.float32, every: int = 0, max_model_len: int = 1024) -> Canary:
    return Canary(max_model_len, 50, dtype, every=every)


def test_the_prompt_is_two_blocks_and_a_token_or_what_there_is_room_for() -> None:
    assert len(canary().prompt) == 257
    assert len(Canary(1024, 50, torch.float32, block_size=16).prompt) == 33
    assert len(canary(max_model_len=100).prompt) == 100 - Canary.max_tokens
    assert canary().prompt == canary().prompt
    assert set(canary().prompt) <= set(range(50))


@pytest.mark.parametrize("settings", [{"max_model_len": 16}, {"every": -1}])
def test_sizes_that_cannot_work_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"and -1|max_model_len=16"):
        canary(**settings)


@pytest.mark.parametrize("every", [0, 1, 3])
def test_logprobs_are_compared_at_first_and_then_now_and_again(every: int) -> None:
    bird = canary(every=every)
    compared = [bird.check(engine(-2.0), ScriptedPolicy(-2.0)) is not None for _ in range(7)]
    assert compared == [i == 0 or (every > 0 and i % every == 0) for i in range(7)]


def test_cached_tokens_are_an_error_at_any_update() -> None:
    bird = canary()
    assert bird.check(engine(-2.0), ScriptedPolicy(-2.0)) == CanaryReport(0.0, 0.0)
    with pytest.raises(WeightSyncError, match=r"prefix cache: 128 of the canary's 257 .* Reset the prefix cache"):
        bird.check(engine(-2.0, cached=128), ScriptedPolicy(-2.0))


@pytest.mark.parametrize(
    ("engine_dtype", "policy_dtype", "gap", "is_fine"),
    [
        (torch.float32, torch.float32, 5e-4, True),
        (torch.float32, torch.float32, 2e-3, False),
        (torch.bfloat16, torch.float32, 0.15, True),
        (torch.float32, torch.bfloat16, 0.15, True),
        (torch.float16, torch.float16, 0.3, False),
        (torch.float32, torch.float32, float("nan"), False),
        (torch.bfloat16, torch.bfloat16, float("inf"), False),
    ],
)
def test_logprobs_may_differ_by_rounding_only(
    engine_dtype: torch.dtype, policy_dtype: torch.dtype, gap: float, is_fine: bool
) -> None:
    bird = canary(engine_dtype)
    if is_fine:
        report = bird.check(engine(-2.0 + gap), ScriptedPolicy(-2.0, policy_dtype))
        assert report is not None
        assert report.mean_gap == pytest.approx(gap)
        return
    with pytest.raises(WeightSyncError, match="log-probs: the engine's and the policy's"):
        bird.check(engine(-2.0 + gap), ScriptedPolicy(-2.0, policy_dtype))
