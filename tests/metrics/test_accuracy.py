"""avg@n and pass@k against brute force, and the metric's behaviour under padding and sharding."""

import doctest
from itertools import combinations

import pytest
import torch

from lit_rlvr.metrics import Estimate, GroupAccuracy, accuracy, bootstrap_interval, pass_at_k, wilson_interval


def test_doctests():
    results = doctest.testmod(accuracy)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("num_samples", [1, 2, 5, 7])
def test_pass_at_k_equals_enumeration_over_subsets(num_samples):
    for num_correct in range(num_samples + 1):
        outcomes = [i < num_correct for i in range(num_samples)]
        for k in range(1, num_samples + 1):
            subsets = [any(subset) for subset in combinations(outcomes, k)]
            assert pass_at_k(num_correct, num_samples, k) == pytest.approx(sum(subsets) / len(subsets), abs=1e-12)


@pytest.mark.parametrize(("c", "n", "k"), [(-1, 4, 1), (5, 4, 1), (1, 4, 0), (1, 4, 5)])
def test_pass_at_k_rejects_impossible_numbers(c, n, k):
    with pytest.raises(ValueError, match="must lie between"):
        pass_at_k(c, n, k)


def groups(num_problems=40, group_size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    difficulty = torch.rand(num_problems, 1, generator=generator)
    return torch.rand(num_problems, group_size, generator=generator) < difficulty


def test_values_and_intervals_of_known_groups():
    is_correct = torch.tensor([[True, True, True, True], [True, False, False, False], [False] * 4])
    metric = GroupAccuracy(4, pass_k=[1, 2, 4])
    metric.update(is_correct)
    estimates = metric.estimates()
    assert list(estimates) == ["avg@4", "pass@1", "pass@2", "pass@4"]
    assert estimates["avg@4"].value == pytest.approx((1 + 0.25 + 0) / 3)
    assert estimates["pass@1"] == estimates["avg@4"]
    assert estimates["pass@2"].value == pytest.approx((1 + 0.5 + 0) / 3)
    assert estimates["pass@4"] == wilson_interval(2, 3)
    assert estimates["avg@4"] == bootstrap_interval(torch.tensor([1, 0.25, 0], dtype=torch.float64))


def test_compute_is_flat_and_equals_the_estimates():
    metric = GroupAccuracy(8)
    metric.update(groups())
    flat = metric.compute()
    assert list(flat) == ["avg@8", "avg@8_low", "avg@8_high", "pass@8", "pass@8_low", "pass@8_high"]
    assert metric.estimates()["avg@8"] == Estimate(flat["avg@8"], flat["avg@8_low"], flat["avg@8_high"])
    assert flat["avg@8"] == pytest.approx(float(groups().float().mean()))
    assert flat["avg@8_low"] < flat["avg@8"] < flat["avg@8_high"] < 1


def test_greedy_gets_the_wilson_interval():
    metric = GroupAccuracy(1)
    metric.update(torch.tensor([[True]] * 9 + [[False]]))
    assert metric.estimates() == {"avg@1": wilson_interval(9, 10), "pass@1": wilson_interval(9, 10)}


def test_padding_problems_do_not_count():
    padded, plain = GroupAccuracy(8), GroupAccuracy(8)
    is_correct = groups()
    weights = torch.ones(40, dtype=torch.long)
    weights[25:] = 0
    padded.update(is_correct, weights)
    padded.update(torch.ones(1, 8, dtype=torch.bool), torch.zeros(1, dtype=torch.bool))
    plain.update(is_correct[:25])
    assert padded.num_problems() == 25
    assert padded.compute() == plain.compute()


def test_sharding_and_order_do_not_change_a_digit():
    whole, parts = GroupAccuracy(8, [1, 4, 8]), GroupAccuracy(8, [1, 4, 8])
    is_correct = groups()
    whole.update(is_correct)
    for part in is_correct.flip(0).split(7):
        parts.update(part)
    assert parts.compute() == whole.compute()


def test_reset_forgets():
    metric = GroupAccuracy(8)
    metric.update(groups())
    metric.reset()
    with pytest.raises(ValueError, match="counted no problem"), pytest.warns(UserWarning, match="before"):
        metric.compute()


def test_wrong_settings_are_rejected():
    with pytest.raises(ValueError, match="group_size must be at least 1, got 0"):
        GroupAccuracy(0)
    with pytest.raises(ValueError, match=r"group_size=4, got \[8\]"):
        GroupAccuracy(4, pass_k=[1, 8])
    with pytest.raises(ValueError, match="expected 8 completions"):
        GroupAccuracy(8).update(torch.ones(2, 4, dtype=torch.bool))
