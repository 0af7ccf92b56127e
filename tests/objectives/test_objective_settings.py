"""Defaults are the papers' values, and a bound that means nothing is refused with its name."""

import math
from typing import Any

import pytest

from lit_rlvr.objectives import ASPO, CISPO, GPPO, GRPO, NoImportanceSampling


def test_defaults_are_the_papers_values() -> None:
    assert GRPO() == GRPO(clip_low=0.2, clip_high=0.2, dual_clip=None)
    assert GPPO() == GPPO(clip_low=0.2, clip_high=0.28, beta1=1.0, beta2=1.0, dual_clip=None)
    assert CISPO() == CISPO(clip_low=0.2, clip_high=0.28)
    assert ASPO() == ASPO(clip_low=0.2, clip_high=0.2, dual_clip=3.0, soft_negative_dual_clip=True)
    assert NoImportanceSampling() == NoImportanceSampling(keep_clip_mask=True, clip_low=0.2, clip_high=0.2)


@pytest.mark.parametrize("objective", [GRPO, GPPO, CISPO, ASPO, NoImportanceSampling])
@pytest.mark.parametrize(
    ("field", "value"),
    [("clip_low", -0.1), ("clip_low", 1.0), ("clip_low", math.nan), ("clip_high", -0.1), ("clip_high", math.inf)],
)
def test_an_impossible_range_is_refused(objective: Any, field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{objective.__name__}\.{field} must be .*got {value}"):
        objective(**{field: value})


@pytest.mark.parametrize("objective", [GRPO, GPPO, ASPO])
@pytest.mark.parametrize("value", [1.0, 0.5, -3.0, math.inf, math.nan])
def test_an_impossible_dual_clip_is_refused(objective: Any, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{objective.__name__}\.dual_clip must be above 1, got {value}"):
        objective(dual_clip=value)


@pytest.mark.parametrize("field", ["beta1", "beta2"])
def test_a_negative_beta_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=rf"GPPO\.{field} must be 0 or positive, got -1.0"):
        GPPO(**{field: -1.0})
