"""Intervals: known numbers, coverage by simulation, reproducibility."""

import doctest

import numpy as np
import pytest
import torch

from lit_rlvr.metrics import Estimate, bootstrap_interval, intervals, wilson_interval


def test_doctests():
    results = doctest.testmod(intervals)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_equals_the_published_table(successes, total, low, high):
    interval = wilson_interval(successes, total)
    assert interval.value == successes / total
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_wilson_is_symmetric_and_stays_inside():
    bottom, top = wilson_interval(0, 7), wilson_interval(7, 7)
    assert (bottom.low, top.high) == (0.0, 1.0)
    assert bottom.high == pytest.approx(1 - top.low)


@pytest.mark.parametrize(("successes", "total"), [(1, 0), (-1, 3), (4, 3)])
def test_wilson_rejects_impossible_counts(successes, total):
    with pytest.raises(ValueError, match="total"):
        wilson_interval(successes, total)


def test_wilson_covers_the_truth():
    rng = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.9):
        draws = rng.binomial(60, share, size=1500)
        covered = np.mean([(e := wilson_interval(c, 60)).low <= share <= e.high for c in draws.tolist()])
        assert 0.92 < covered <= 1.0


def test_bootstrap_covers_the_truth_where_counting_completions_would_not():
    """Problems differ in difficulty: 8 completions of one problem are not 8 independent draws."""
    rng = np.random.default_rng(1)
    bootstrap, naive = [], []
    for i in range(300):
        difficulty = rng.beta(0.5, 0.5, size=100)
        correct = rng.binomial(8, difficulty)
        interval = bootstrap_interval(torch.from_numpy(correct / 8), num_resamples=500, seed=i)
        bootstrap.append(interval.low <= 0.5 <= interval.high)
        counted = wilson_interval(int(correct.sum()), 800)
        naive.append(counted.low <= 0.5 <= counted.high)
    assert 0.91 < np.mean(bootstrap) < 0.99
    assert np.mean(naive) < 0.8


def test_bootstrap_is_reproducible_and_blind_to_order():
    values = torch.randint(0, 9, (50,), generator=torch.Generator().manual_seed(0)) / 8
    first = bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values.flip(0), seed=3) == first
    assert bootstrap_interval(values, seed=4) != first
    assert first.low < first.value < first.high
    assert first.value == pytest.approx(float(values.mean()))


def test_bootstrap_equals_the_normal_interval_for_many_problems():
    values = torch.rand(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    interval = bootstrap_interval(values)
    half_width = 1.96 * float(values.std()) / 400**0.5
    assert interval.high - interval.value == pytest.approx(half_width, rel=0.05)
    assert interval.value - interval.low == pytest.approx(half_width, rel=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_bootstrap_does_not_claim_certainty_when_all_problems_agree(value):
    interval = bootstrap_interval(torch.full((25,), value))
    assert interval == wilson_interval(25 * value, 25)
    assert interval.high - interval.low > 0.1


def test_bootstrap_rejects_what_is_no_share():
    with pytest.raises(ValueError, match="at least one problem"):
        bootstrap_interval(torch.zeros(0))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        bootstrap_interval(torch.tensor([0.5, 2.0]))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        bootstrap_interval(torch.tensor([0.5, float("nan")]))


def test_estimate_as_dict():
    assert Estimate(0.5, 0.4, 0.6).to_dict() == {"value": 0.5, "low": 0.4, "high": 0.6}
