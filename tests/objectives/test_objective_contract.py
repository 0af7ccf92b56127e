"""What every objective of the package must do, the ones yet to be written included."""

import importlib
import inspect
import math
import pkgutil
from dataclasses import is_dataclass

import pytest
import torch

import lit_rlvr.objectives
from lit_rlvr.objectives import ASPO, CISPO, GPPO, GRPO, NoImportanceSampling, ObjectiveInputs, PolicyObjective


def _subclasses(cls: type) -> set[type]:
    found = set(cls.__subclasses__())
    return found.union(*(_subclasses(c) for c in found)) if found else found


for module in pkgutil.iter_modules(lit_rlvr.objectives.__path__):
    importlib.import_module(f"lit_rlvr.objectives.{module.name}")

CLASSES = sorted(
    (c for c in _subclasses(PolicyObjective) if c.__module__.startswith("lit_rlvr.") and not inspect.isabstract(c)),
    key=lambda c: c.__name__,
)
OBJECTIVES = [
    *(c() for c in CLASSES),
    GRPO(dual_clip=3.0),
    GPPO(dual_clip=10.0),
    CISPO(clip_low=None, clip_high=4.0),
    ASPO(dual_clip=None),
    ASPO(soft_negative_dual_clip=False),
    NoImportanceSampling(keep_clip_mask=False),
]
every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)


def inputs(logprobs: torch.Tensor, old_logprobs: torch.Tensor, advantages: torch.Tensor) -> ObjectiveInputs:
    mask = torch.ones_like(old_logprobs, dtype=torch.bool)
    return ObjectiveInputs(logprobs, old_logprobs, advantages, mask, entropy=torch.rand(mask.shape))


def loss_and_gradient(objective: PolicyObjective, x: ObjectiveInputs) -> tuple[torch.Tensor, torch.Tensor]:
    loss, _ = objective(x)
    return loss.detach(), torch.autograd.grad(loss.sum(), x.logprobs)[0]


def test_all_five_objectives_are_found() -> None:
    assert {ASPO, CISPO, GPPO, GRPO, NoImportanceSampling} <= set(CLASSES)


@every_objective
def test_is_a_frozen_dataclass(objective: PolicyObjective) -> None:
    assert is_dataclass(objective)
    assert objective.__dataclass_params__.frozen  # type: ignore[attr-defined]


@every_objective
def test_on_policy_it_is_reinforce(objective: PolicyObjective) -> None:
    torch.manual_seed(0)
    old = -torch.rand(4, 9) * 3
    advantages = torch.randn(4, 9)
    _, gradient = loss_and_gradient(objective, inputs(old.clone().requires_grad_(), old, advantages))
    torch.testing.assert_close(gradient, -advantages, rtol=1e-6, atol=0)


@every_objective
def test_zero_advantage_has_exactly_no_gradient(objective: PolicyObjective) -> None:
    old = torch.full((1, 7), -2.0)
    log_ratios = torch.tensor([[-50.0, -2.0, -0.1, 0.0, 0.1, 2.0, 50.0]])
    _, gradient = loss_and_gradient(objective, inputs((old + log_ratios).requires_grad_(), old, torch.zeros(1, 7)))
    assert torch.equal(gradient, torch.zeros(1, 7))


@every_objective
def test_extreme_logprobs_stay_finite(objective: PolicyObjective) -> None:
    inf = math.inf
    logprobs = torch.tensor([[-60.0, -20.0, -0.0, -0.0, -inf, -1.0, -inf]]).repeat(3, 1).requires_grad_()
    old = torch.tensor([[-10.0, -0.0, -20.0, -50.0, -1.0, -inf, -inf]]).repeat(3, 1)
    advantages = torch.tensor([[1.0], [-1.0], [0.0]]).expand(3, 7)
    x = inputs(logprobs, old, advantages)
    loss, gradient = loss_and_gradient(objective, x)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all()
    assert torch.equal(gradient[:, 4:], torch.zeros(3, 3)), "a log-ratio that is not finite has no gradient"
    assert not any(torch.isinf(statistic).any() for statistic in objective(x)[1].values())


@every_objective
def test_a_token_does_not_see_its_row_or_the_mask(objective: PolicyObjective) -> None:
    if objective.needs_entropy:
        pytest.skip("objectives that read the entropy may compare the tokens of a response")
    torch.manual_seed(0)
    old, advantages = -torch.rand(3, 5) * 3, torch.randn(3, 5)
    logprobs = old + 0.5 * torch.randn(3, 5)
    whole, _ = objective(inputs(logprobs, old, advantages))
    flipped, _ = objective(inputs(logprobs.flip(0, 1), old.flip(0, 1), advantages.flip(0, 1)))
    alone, _ = objective(inputs(logprobs[1:2, 2:3], old[1:2, 2:3], advantages[1:2, 2:3]))
    unmasked = ObjectiveInputs(logprobs, old, advantages, torch.zeros(3, 5, dtype=torch.bool))
    torch.testing.assert_close(flipped.flip(0, 1), whole, rtol=1e-6, atol=0)
    torch.testing.assert_close(alone[0, 0], whole[1, 2], rtol=1e-6, atol=0)
    assert torch.equal(objective(unmasked)[0], whole)


@every_objective
def test_statistics_are_detached_shares(objective: PolicyObjective) -> None:
    torch.manual_seed(0)
    old = -torch.rand(4, 50) * 3
    _, stats = objective(inputs((old + torch.randn(4, 50)).requires_grad_(), old, torch.randn(4, 50)))
    for name, values in stats.items():
        assert values.shape == (4, 50), name
        assert not values.requires_grad, name
        if "fraction" in name:
            assert set(values[~values.isnan()].tolist()) <= {0.0, 1.0}, name
