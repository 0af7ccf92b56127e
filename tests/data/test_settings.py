"""The settings of an iteration: which divisor goes with which reduction."""

import math

import pytest

from lit_rlvr.data import IterationConfig, PromptFormat, RolloutDataModule
from lit_rlvr.rewards import ExactAnswer
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.tasks import AdditionPrompts


def make_data(iteration: IterationConfig, max_tokens: int) -> RolloutDataModule:
    rewards = {"answer": ExactAnswer()}
    sampling = SamplingParams(max_tokens=max_tokens)
    return RolloutDataModule(PromptFormat("nowhere"), AdditionPrompts("train"), rewards, sampling=sampling, iteration=iteration)


@pytest.mark.parametrize("reduction", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"])
def test_a_divisor_without_use_is_refused(reduction: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.iteration\.divisor=8\.0 .*reduction={reduction}"):
        IterationConfig(reduction=reduction, divisor=8.0)


@pytest.mark.parametrize("divisor", [0.0, -1.0, math.inf, math.nan])
def test_a_divisor_is_a_positive_number(divisor: float) -> None:
    with pytest.raises(ValueError, match=r"data\.iteration\.divisor must be positive"):
        IterationConfig(reduction="constant", divisor=divisor)


@pytest.mark.parametrize(
    ("num_prompts", "group_size", "num_mini_batches", "max_tokens", "suggestion"),
    [(32, 8, 2, 80, "10240"), (128, 16, 1, 32768, "67108864"), (5, 3, 2, 10, "75"), (5, 1, 2, 5, "12.5")],
)
def test_a_missing_divisor_is_suggested_ready_to_use(
    num_prompts: int, group_size: int, num_mini_batches: int, max_tokens: int, suggestion: str
) -> None:
    sizes = {"num_prompts": num_prompts, "group_size": group_size, "num_mini_batches": num_mini_batches}
    with pytest.raises(ValueError, match=rf"data\.iteration\.divisor={suggestion}$"):
        make_data(IterationConfig(reduction="constant", **sizes), max_tokens)
    mended = IterationConfig(reduction="constant", divisor=float(suggestion), **sizes)
    assert make_data(mended, max_tokens).iteration.divisor == float(suggestion)
