"""Learning rates, step by step."""

import pytest
import torch

from lit_rlvr.modules import ConstantWithWarmup, CosineToMinimum, LinearToMinimum


def rates(make: type, steps: int, **settings: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer, **settings)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_constant_with_warmup() -> None:
    assert rates(ConstantWithWarmup, 6, warmup_steps=4) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert rates(ConstantWithWarmup, 2) == [1, 1]


def test_cosine_ends_at_its_minimum_and_stays_there() -> None:
    # Halfway down the cosine lies halfway between 1 and the minimum of 0.5.
    assert rates(CosineToMinimum, 7, total_steps=4, min_ratio=0.5)[::2] == pytest.approx([1, 0.75, 0.5, 0.5])


def test_linear_goes_straight_to_its_minimum() -> None:
    assert rates(LinearToMinimum, 8, total_steps=6, warmup_steps=2, min_ratio=0.2) == pytest.approx(
        [0.5, 1, 1, 0.8, 0.6, 0.4, 0.2, 0.2]
    )


def test_a_decay_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="must be larger than warmup_steps"):
        rates(CosineToMinimum, 1, total_steps=5, warmup_steps=5)
