"""The specification by gradient: autograd finds the weights that are written out by hand, on both sides of every kink.

The tokens of a response all have one ratio here; responses of mixed ratios are in `test_response_ratios.py`.
"""

import itertools
import math

import pytest
import torch
from objective_cases import CLASSES, loss_and_gradient
from torch import Tensor
from weights_by_hand import CASES, Case

from lit_rlvr.objectives import GRPO, ObjectiveInputs
from lit_rlvr.objectives.gradient import gradient_weight

NUM_TOKENS = 10
every_case = pytest.mark.parametrize("case", CASES, ids=[repr(case.objective) for case in CASES])


def ratios_of(case: Case) -> list[float]:
    """Ratios on both sides of every kink, near and not so near, and between and beyond the kinks."""
    sides = [kink * (1 + distance) for kink in case.kinks for distance in (-1e-2, -1e-5, 1e-5, 1e-2)]
    return sorted([*sides, math.exp(-19), 0.01, 0.7, 1.0, 1.1, 2.0, 30.0, math.exp(19)])


def test_every_objective_has_a_case() -> None:
    assert {type(case.objective) for case in CASES} == set(CLASSES)


@every_case
def test_the_weights_by_hand_have_their_kinks_where_stated(case: Case) -> None:
    """A kink that is none would only look like a test."""
    for kink in case.kinks:
        bends = []
        for sign, is_high in ((1, False), (1, True), (-1, False), (-1, True)):
            steps = [case.weight(kink * (1 + d), sign, is_high) for d in (-2e-6, -1e-6, 1e-6, 2e-6)]
            left, jump, right = (b - a for a, b in itertools.pairwise(steps))
            bends += [abs(jump - left - right), abs(right - left)]
        assert max(bends) > 1e-7 * kink, kink


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@every_case
def test_gradient_is_minus_advantage_times_weight(case: Case, dtype: torch.dtype) -> None:
    # A row for each sign and ratio. Entropies rise along the row: token t of 10 is above the quantile q if t > 9 q.
    signs, ratios = (2.0, -0.5), ratios_of(case)
    shape = (len(signs) * len(ratios), NUM_TOKENS)
    old = torch.full(shape, -1.5, dtype=dtype)
    logs = torch.tensor(ratios, dtype=torch.float64).log().repeat(len(signs))[:, None]
    advantages = torch.tensor(signs, dtype=dtype).repeat_interleave(len(ratios))[:, None].expand(shape)
    entropy = torch.arange(NUM_TOKENS, dtype=dtype).expand(shape)
    x = ObjectiveInputs((old + logs).to(dtype), old, advantages, torch.ones(shape, dtype=torch.bool), entropy)

    _, gradient = loss_and_gradient(case.objective, x)

    is_high = [t > case.quantile * (NUM_TOKENS - 1) for t in range(NUM_TOKENS)]
    rounded = (x.logprobs - old)[:, 0].double().exp().tolist()
    expected = [
        [-a * case.weight(r, int(math.copysign(1, a)), high) for high in is_high]
        for a, r in zip(advantages[:, 0].tolist(), rounded, strict=True)
    ]
    tolerance = 3e-6 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(gradient, torch.tensor(expected, dtype=dtype), rtol=tolerance, atol=0)


@pytest.mark.parametrize("is_high", [False, True], ids=["low entropy", "high entropy"])
@pytest.mark.parametrize("advantage", [1.0, -3.0])
@every_case
def test_gradient_weight_returns_the_weights(case: Case, advantage: float, is_high: bool) -> None:
    ratios = ratios_of(case)
    found: Tensor = gradient_weight(case.objective, torch.tensor(ratios, dtype=torch.float64), advantage, is_high)
    expected = [case.weight(ratio, int(math.copysign(1, advantage)), is_high) for ratio in ratios]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=0)


def test_gradient_weight_needs_an_advantage() -> None:
    with pytest.raises(ValueError, match="needs an advantage other than 0"):
        gradient_weight(GRPO(), torch.ones(1), advantage=0.0)
