"""The specification by gradient: d loss / d logprob = -A * w(r, sign A), with `w` written out by hand for every objective."""

import math
from collections.abc import Callable

import pytest
import torch

from lit_rlvr.objectives import ASPO, CISPO, GPPO, GRPO, NoImportanceSampling, ObjectiveInputs, PolicyObjective

Weight = Callable[[float, int], float]

KINKS = (1 / 10, 1 / 5, 1 / 3, 0.6, 0.8, 1.0, 1.2, 1.28, 1.5, 3.0, 5.0, 10.0)
RATIOS = sorted([k * side for k in KINKS for side in (1 - 1e-3, 1 + 1e-3)] + [math.exp(-19), 0.01, 0.7, 1.1, 2.0, math.exp(19)])


def grpo(low: float, high: float, dual: float = math.inf) -> Weight:
    def weight(r: float, sign: int) -> float:
        if sign > 0:
            return 0.0 if r > 1 + high else r
        return 0.0 if r < 1 - low or r > dual else r

    return weight


def gppo(low: float, high: float, beta1: float = 1.0, beta2: float = 1.0, dual: float = math.inf) -> Weight:
    def weight(r: float, sign: int) -> float:
        if sign > 0:
            return beta2 * (1 + high) if r > 1 + high else r
        if r < 1 - low:
            return beta1 * (1 - low)
        return 0.0 if r > dual else r

    return weight


def cispo(lowest: float, highest: float) -> Weight:
    return lambda r, sign: max(lowest, min(r, highest))


def aspo(low: float, high: float, dual: float, weight_of_cut_negatives: float) -> Weight:
    def weight(r: float, sign: int) -> float:
        if sign > 0:
            return 0.0 if r > 1 + high else min(1 / r, dual)
        if r < 1 - low:
            return 0.0
        return weight_of_cut_negatives if r > dual else r

    return weight


def without_is(low: float, high: float) -> Weight:
    return lambda r, sign: 0.0 if (sign > 0 and r > 1 + high) or (sign < 0 and r < 1 - low) else 1.0


CASES: list[tuple[PolicyObjective, Weight]] = [
    (GRPO(), grpo(0.2, 0.2)),
    (GRPO(clip_high=0.28), grpo(0.2, 0.28)),
    (GRPO(clip_low=0.4, clip_high=0.28, dual_clip=10.0), grpo(0.4, 0.28, dual=10)),
    (GPPO(), gppo(0.2, 0.28)),
    (GPPO(dual_clip=10.0), gppo(0.2, 0.28, dual=10)),
    (GPPO(clip_low=0.4, clip_high=0.5), gppo(0.4, 0.5)),
    (GPPO(clip_high=0.2, beta1=0.25, beta2=0.75, dual_clip=10.0), gppo(0.2, 0.2, beta1=0.25, beta2=0.75, dual=10)),
    (CISPO(), cispo(0.8, 1.28)),
    (CISPO(clip_low=None, clip_high=4.0), cispo(0.0, 5.0)),
    (ASPO(), aspo(0.2, 0.2, 3, weight_of_cut_negatives=3)),
    (ASPO(clip_low=0.4, clip_high=0.5, dual_clip=5.0), aspo(0.4, 0.5, 5, weight_of_cut_negatives=5)),
    (ASPO(soft_negative_dual_clip=False), aspo(0.2, 0.2, 3, weight_of_cut_negatives=0)),
    (ASPO(dual_clip=None), aspo(0.2, 0.2, math.inf, weight_of_cut_negatives=0)),
    (NoImportanceSampling(), without_is(0.2, 0.2)),
    (NoImportanceSampling(keep_clip_mask=False), lambda r, sign: 1.0),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("objective", "weight"), CASES, ids=[repr(objective) for objective, _ in CASES])
def test_gradient_is_minus_advantage_times_weight(objective: PolicyObjective, weight: Weight, dtype: torch.dtype) -> None:
    signs = (2.0, -0.5)
    old = torch.full((len(signs), len(RATIOS)), -1.5, dtype=dtype)
    logprobs = (old + torch.tensor(RATIOS, dtype=torch.float64).log().to(dtype)).requires_grad_()
    advantages = torch.tensor(signs, dtype=dtype)[:, None].expand_as(old)
    x = ObjectiveInputs(logprobs, old, advantages, torch.ones_like(old, dtype=torch.bool))

    loss, _ = objective(x)
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)

    ratios = (logprobs - old).detach().exp()
    expected = [[-a * weight(r, int(math.copysign(1, a))) for r in row] for a, row in zip(signs, ratios.tolist(), strict=True)]
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(gradient, torch.tensor(expected, dtype=dtype), rtol=tolerance, atol=0)


def test_gppo_changes_the_gradient_but_not_the_value_of_clip_higher() -> None:
    torch.manual_seed(0)
    old = -torch.rand(8, 50) * 5
    advantages = torch.randn(8, 50)
    losses, gradients = [], []
    for objective in (GRPO(0.2, 0.28, dual_clip=10.0), GPPO(0.2, 0.28, dual_clip=10.0)):
        logprobs = (old + torch.randn(8, 50, generator=torch.Generator().manual_seed(1))).requires_grad_()
        loss, _ = objective(ObjectiveInputs(logprobs, old, advantages, torch.ones_like(old, dtype=torch.bool)))
        losses.append(loss)
        gradients.append(torch.autograd.grad(loss.sum(), logprobs)[0])
    assert torch.equal(*losses)
    is_different = gradients[0] != gradients[1]
    assert 0.1 < is_different.float().mean() < 0.9
    assert torch.all(gradients[0][is_different] == 0)
