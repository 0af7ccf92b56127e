"""Advantage estimators against numbers worked out by hand and against what must hold for every group."""

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_rlvr import advantages
from lit_rlvr.advantages import AdvantageEstimator, DrGRPO, GroupRelative, LeaveOneOut

CLASSES = [
    c
    for _, c in inspect.getmembers(advantages, inspect.isclass)
    if issubclass(c, AdvantageEstimator) and not inspect.isabstract(c)
]
ESTIMATORS = [*(c() for c in CLASSES), GroupRelative(unbiased=False), GroupRelative(normalize_by_std=False)]
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)


def test_group_relative_by_hand() -> None:
    # mean 1, squared deviations 1, 1, 1, 9: variance 12 / 3 = 4 unbiased, 12 / 4 = 3 of the population
    rewards = torch.tensor([0.0, 0.0, 0.0, 4.0])
    torch.testing.assert_close(GroupRelative(epsilon=0.0)(rewards), torch.tensor([-0.5, -0.5, -0.5, 1.5]))
    torch.testing.assert_close(
        GroupRelative(unbiased=False, epsilon=0.0)(rewards), torch.tensor([-1.0, -1.0, -1.0, 3.0]) / math.sqrt(3)
    )
    torch.testing.assert_close(GroupRelative(epsilon=2.0)(rewards), torch.tensor([-0.25, -0.25, -0.25, 0.75]))
    torch.testing.assert_close(GroupRelative(normalize_by_std=False)(rewards), torch.tensor([-1.0, -1.0, -1.0, 3.0]))


def test_the_default_is_grpos() -> None:
    assert GroupRelative() == GroupRelative(normalize_by_std=True, unbiased=True, epsilon=1e-6)


def test_dr_grpo_by_hand() -> None:
    torch.testing.assert_close(DrGRPO()(torch.tensor([0.0, 0.0, 0.0, 4.0])), torch.tensor([-1.0, -1.0, -1.0, 3.0]))


def test_leave_one_out_is_the_reward_minus_the_mean_of_the_others() -> None:
    rewards = torch.tensor([1.0, 0.0, 0.5, 3.0, -1.0])
    others = [(rewards.sum() - reward) / 4 for reward in rewards]
    torch.testing.assert_close(LeaveOneOut()(rewards), rewards - torch.stack(others))


@every_estimator
@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 0.1, 1 / 3, 1e6])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_equal_rewards_give_exactly_nothing(estimator: AdvantageEstimator, value: float, size: int) -> None:
    assert torch.equal(estimator(torch.full((size,), value)), torch.zeros(size))


@every_estimator
def test_an_empty_group_is_empty(estimator: AdvantageEstimator) -> None:
    assert estimator(torch.zeros(0)).shape == (0,)


@every_estimator
@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=2, max_size=9))
def test_every_group(estimator: AdvantageEstimator, rewards: list[float]) -> None:
    group = torch.tensor(rewards, dtype=torch.float64)
    result = estimator(group)
    assert result.sum().abs() < 1e-9, "a baseline leaves nothing to gain on average"
    assert torch.allclose(estimator(group + 5), result), "adding a constant to all rewards changes nothing"
    assert torch.allclose(estimator(group.flip(0)).flip(0), result), "the order of the members does not matter"
    assert torch.equal(torch.sign(result), torch.sign(group - group.mean())) or result.abs().max() < 1e-9


@every_estimator
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_refused(estimator: AdvantageEstimator, bad: float) -> None:
    with pytest.raises(ValueError, match="rewards must be finite"):
        estimator(torch.tensor([1.0, bad]))


@pytest.mark.parametrize("epsilon", [-1e-6, math.nan])
def test_a_negative_epsilon_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match=f"epsilon must be 0 or positive, got {epsilon}"):
        GroupRelative(epsilon=epsilon)
