"""Every objective of the package, the ones yet to be written included, and random batches for them."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import strategies as st
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


def _subclasses(cls: type) -> set[type]:
    found: set[type] = set(cls.__subclasses__())
    return found.union(*(_subclasses(c) for c in found)) if found else found


for module in pkgutil.iter_modules(lit_rlvr.objectives.__path__):
    importlib.import_module(f"lit_rlvr.objectives.{module.name}")

CLASSES = sorted(
    (c for c in _subclasses(PolicyObjective) if c.__module__.startswith("lit_rlvr.") and not inspect.isabstract(c)),
    key=lambda c: c.__name__,
)
WIDE = HighEntropyRange(clip_low=0.4, clip_high=0.4)
OBJECTIVES: list[PolicyObjective] = [
    *(c() for c in CLASSES),
    GRPO(dual_clip=3.0),
    GRPO(dual_clip=1.0),
    GPPO(dual_clip=10.0),
    GPPO(clip_high=0.2, beta1=0.5),
    CISPO(clip_low=None, clip_high=4.0),
    ASPO(dual_clip=None),
    ASPO(dual_clip=1.0),
    ASPO(soft_negative_dual_clip=False),
    ASPO(high_entropy=WIDE),
    Archer(dual_clip=10.0),
    Archer(high_entropy=None),
    NoImportanceSampling(keep_clip_mask=False),
    PositiveMeanIS(mean="geometric"),
    PositiveMeanIS(keep_clip_mask=False),
    GSPO(clip_low=0.2, clip_high=0.2),
    REINFORCE(importance_weight=True),
]
every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)


@st.composite
def batches(draw: st.DrawFn, log_ratios: tuple[float, ...] | None = None) -> ObjectiveInputs:
    """Rows with random masks, some rows without tokens, entropies with ties, advantages per response or per token.

    The log-ratios are among those given, or normal, of a scale that reaches the bounds of some objective.
    """
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    scale = draw(st.sampled_from([1.0, 0.2, 3e-4]))
    kept = draw(st.sampled_from([0.8, 0.3, 1.0]))
    is_per_token = draw(st.booleans())
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))

    def choice(values: tuple[float, ...], shape: tuple[int, int]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)[torch.randint(len(values), shape, generator=random)]

    old = -5 * torch.rand(shape, generator=random, dtype=torch.float64)
    normal = scale * torch.randn(shape, generator=random, dtype=torch.float64)
    return ObjectiveInputs(
        logprobs=old + (normal if log_ratios is None else choice(log_ratios, shape)),
        old_logprobs=old,
        advantages=choice((-2.0, -0.5, 0.0, 1.5), shape if is_per_token else (shape[0], 1)).expand(shape),
        loss_mask=torch.rand(shape, generator=random) < kept,
        entropy=choice((0.0, 0.1, 0.5, 0.7, 2.0, 3.0), shape),
    )


def loss_and_gradient(objective: PolicyObjective, x: ObjectiveInputs) -> tuple[Tensor, Tensor]:
    """Return the token losses and, of their sum, the gradient."""
    x = replace(x, logprobs=x.logprobs.detach().requires_grad_())
    loss, _ = objective(x)
    return loss.detach(), torch.autograd.grad(loss.sum(), x.logprobs)[0]


def map_fields(x: ObjectiveInputs, change: Callable[[Tensor], Tensor]) -> ObjectiveInputs:
    """Return the batch with the same change made to each of its tensors."""
    return ObjectiveInputs(*(change(getattr(x, field.name)) for field in fields(x)))
