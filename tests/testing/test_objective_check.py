"""Objectives that keep the contract pass, whatever their idea; what is legal but remarkable is reported, not raised."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from from_loss import FromLoss
from torch import Tensor

import lit_rlvr.objectives
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
    ObjectiveInputs,
    PolicyObjective,
    PositiveMeanIS,
)
from lit_rlvr.ops import row_mean
from lit_rlvr.testing import ObjectiveViolation, check_objective


def _subclasses(cls: type) -> Iterator[type]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


for module in pkgutil.iter_modules(lit_rlvr.objectives.__path__):
    importlib.import_module(f"lit_rlvr.objectives.{module.name}")

CLASSES = sorted(
    {c for c in _subclasses(PolicyObjective) if c.__module__.startswith("lit_rlvr.") and not inspect.isabstract(c)},
    key=lambda c: c.__name__,
)
VARIANTS = [
    GRPO(dual_clip=3.0),
    GRPO(clip_low=0.99, clip_high=0.0, dual_clip=1.5),
    GRPO(clip_low=0.0, clip_high=0.0),
    GPPO(dual_clip=10.0),
    GPPO(beta1=0.0, beta2=0.0),
    CISPO(clip_low=None, clip_high=4.0),
    ASPO(dual_clip=None),
    ASPO(soft_negative_dual_clip=False),
    NoImportanceSampling(keep_clip_mask=False),
    Archer(dual_clip=10.0),
    Archer(high_entropy=None),
    ASPO(high_entropy=HighEntropyRange(clip_low=0.4, clip_high=0.4)),
    GSPO(clip_low=0.2, clip_high=0.2),
    PositiveMeanIS(mean="geometric", keep_clip_mask=False),
    REINFORCE(importance_weight=True),
]


@pytest.mark.parametrize("objective", [*(c() for c in CLASSES), *VARIANTS], ids=repr)
def test_objectives_of_the_package_pass(objective: PolicyObjective) -> None:
    check_objective(objective)


def test_the_objectives_of_the_package_are_found() -> None:
    assert {ASPO, CISPO, GPPO, GRPO, GSPO, REINFORCE, Archer, NoImportanceSampling, PositiveMeanIS} <= set(CLASSES)


def test_the_example_of_an_objective_of_ones_own_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    try:
        soft_clip = importlib.import_module("custom_objective").SoftClip
        for sharpness in (1.0, 4.0, 20.0):
            check_objective(soft_clip(sharpness))
    finally:
        sys.modules.pop("custom_objective", None)


def sequence_ratio(x: ObjectiveInputs) -> Tensor:
    return row_mean(x.ratio.log(), x.loss_mask).exp()


def gspo_with_one_gradient_for_the_row(x: ObjectiveInputs) -> Tensor:
    ratio = sequence_ratio(x)
    return -torch.minimum(ratio * x.advantages, ratio.clamp(0.999, 1.001) * x.advantages)


def arithmetic_mean_ratio(x: ObjectiveInputs) -> Tensor:
    return -row_mean(x.ratio, x.loss_mask) * x.advantages


def tokens_within_two_bounds(x: ObjectiveInputs) -> Tensor:
    is_close = (x.ratio > 0.5) & (x.ratio < 2)
    return -x.advantages * torch.where(is_close, x.ratio, x.ratio.detach())


def tapered_negatives(x: ObjectiveInputs) -> Tensor:
    unit = x.ratio / x.ratio.detach()
    weight = torch.where(x.advantages > 0, torch.ones_like(x.ratio), x.ratio.detach().clamp(max=1))
    return -x.advantages * weight * unit


def wide_range_above_mean_entropy(x: ObjectiveInputs) -> Tensor:
    assert x.entropy is not None
    bound = torch.where(x.entropy > row_mean(x.entropy, x.loss_mask), 1.5, 1.1)
    return -torch.minimum(x.ratio * x.advantages, torch.minimum(x.ratio, bound) * x.advantages)


def flipped_for_both_signs(x: ObjectiveInputs) -> Tensor:
    ratio = x.ratio.detach()
    return -x.advantages / ratio * x.ratio / ratio


LEGAL = [
    gspo_with_one_gradient_for_the_row,
    arithmetic_mean_ratio,
    tokens_within_two_bounds,
    tapered_negatives,
    wide_range_above_mean_entropy,
    flipped_for_both_signs,
]


@pytest.mark.parametrize("loss", LEGAL)
def test_another_idea_is_no_fault(loss: Callable[[ObjectiveInputs], Tensor]) -> None:
    check_objective(FromLoss(loss))


def test_a_stated_scale_is_no_fault() -> None:
    weaker_positives = FromLoss(lambda x: -x.ratio * x.advantages * torch.where(x.advantages > 0, 0.1, 1.0))
    with pytest.raises(ObjectiveViolation, match=r"scale_of_positives=0\.1, scale_of_negatives=1"):
        check_objective(weaker_positives)
    check_objective(weaker_positives, scale_of_positives=0.1)
    check_objective(FromLoss(lambda x: -x.ratio * x.advantages.clamp(min=0)), scale_of_negatives=0.0)
    with pytest.raises(ObjectiveViolation, match=r"times 0\.2 as stated"):
        check_objective(weaker_positives, scale_of_positives=0.2)


def only_high_entropy(x: ObjectiveInputs) -> Tensor:
    assert x.entropy is not None
    is_high = x.entropy > row_mean(x.entropy, x.loss_mask)
    return -x.advantages * torch.where(is_high | (x.loss_mask.sum(1, keepdim=True) == 1), x.ratio, x.ratio.detach())


def test_dropped_tokens_are_no_fault_when_stated() -> None:
    with pytest.raises(ObjectiveViolation, match="may_drop_tokens=True"):
        check_objective(FromLoss(only_high_entropy))
    check_objective(FromLoss(only_high_entropy), may_drop_tokens=True)
    with pytest.raises(ObjectiveViolation, match="put a minus in front"):
        check_objective(FromLoss(lambda x: x.ratio * x.advantages), may_drop_tokens=True)


def test_the_check_leaves_the_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    check_objective(GRPO())
    with pytest.raises(ObjectiveViolation, match="upside down"):
        check_objective(FromLoss(lambda x: -x.advantages / x.ratio))
    assert torch.equal(torch.rand(3), expected)


def test_the_check_needs_torch_only() -> None:
    heavy = ("pytest", "numpy.testing", "transformers", "lightning", "torchmetrics", "jsonargparse")
    code = f"import sys, lit_rlvr.testing; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
