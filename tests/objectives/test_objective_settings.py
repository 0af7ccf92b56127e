"""Defaults are the papers' values, and a bound that means nothing is refused with its name."""

import math
from typing import Any

import pytest

from lit_rlvr.objectives import (
    ASPO,
    CISPO,
    GPPO,
    GRPO,
    GSPO,
    REINFORCE,
    Archer,
    HighEntropyRange,
    NoImportanceSampling,
    PositiveMeanIS,
)


def test_defaults_are_the_papers_values() -> None:
    assert GRPO() == GRPO(clip_low=0.2, clip_high=0.2, dual_clip=None)
    assert GPPO() == GPPO(clip_low=0.2, clip_high=0.28, beta1=1.0, beta2=1.0, dual_clip=None)
    assert CISPO() == CISPO(clip_low=0.2, clip_high=0.28)
    assert ASPO() == ASPO(0.2, 0.2, dual_clip=3.0, soft_negative_dual_clip=True, high_entropy=None)
    assert Archer() == Archer(0.2, 0.2, HighEntropyRange(clip_low=0.5, clip_high=0.5, quantile=0.8), dual_clip=None)
    assert GSPO() == GSPO(clip_low=3e-4, clip_high=4e-4)
    assert NoImportanceSampling() == NoImportanceSampling(keep_clip_mask=True, clip_low=0.2, clip_high=0.2)
    assert PositiveMeanIS() == PositiveMeanIS(mean="arithmetic", keep_clip_mask=True, clip_low=0.2, clip_high=0.2)
    assert REINFORCE() == REINFORCE(importance_weight=False)
    assert HighEntropyRange(0.4, 0.4).quantile == 0.8


RANGES = [GRPO, GPPO, CISPO, ASPO, Archer, GSPO, NoImportanceSampling, PositiveMeanIS, HighEntropyRange]


@pytest.mark.parametrize("owner", RANGES)
@pytest.mark.parametrize(
    ("field", "value"),
    [("clip_low", -0.1), ("clip_low", 1.0), ("clip_low", math.nan), ("clip_high", -0.1), ("clip_high", math.inf)],
)
def test_an_impossible_range_is_refused(owner: Any, field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{owner.__name__}\.{field} must be .*got {value}"):
        owner(**{"clip_low": 0.1, "clip_high": 0.1, field: value})


@pytest.mark.parametrize("objective", [GRPO, GPPO, ASPO, Archer])
@pytest.mark.parametrize("value", [0.99, -3.0, math.inf, math.nan])
def test_an_impossible_dual_clip_is_refused(objective: Any, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{objective.__name__}\.dual_clip must be at least 1, got {value}"):
        objective(dual_clip=value)


@pytest.mark.parametrize("value", [-0.1, 1.0, 80.0, math.nan])
def test_an_impossible_quantile_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=rf"HighEntropyRange\.quantile must be in \[0, 1\), got {value}"):
        HighEntropyRange(0.4, 0.4, quantile=value)


@pytest.mark.parametrize("field", ["beta1", "beta2"])
def test_a_negative_beta_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=rf"GPPO\.{field} must be 0 or positive, got -1.0"):
        GPPO(**{field: -1.0})


def test_an_unknown_mean_is_refused() -> None:
    objective = PositiveMeanIS()
    object.__setattr__(objective, "mean", "harmonic")  # the constructor is type-checked in this suite, and not elsewhere
    with pytest.raises(ValueError, match=r"PositiveMeanIS\.mean must be one of arithmetic, geometric, got 'harmonic'"):
        objective.__post_init__()
