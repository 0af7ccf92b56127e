"""The batches an objective is tried on, and what it makes of them. Every number is fixed: a check says the same every time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.testing.objective_findings import Fault, ObjectiveCallError

ROWS, COLUMNS = 4, 6
ADVANTAGES = (1.0, -2.0, 0.5, -0.25)
"""One per response, of both signs, their mean and standard deviation far from 0 and 1."""


@dataclass(frozen=True)
class Expectations:
    """Where an objective departs from the others by design."""

    scale_of_positives: float = 1.0
    """Gradient of a token with a positive advantage at ratio 1, as a multiple of REINFORCE's."""
    scale_of_negatives: float = 1.0
    """Gradient of a token with a negative advantage at ratio 1, as a multiple of REINFORCE's."""
    may_drop_tokens: bool = False
    """Some tokens of a response may have no gradient at all, whatever their ratio (those with a low entropy, say)."""

    def scales(self, advantages: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Return the multiple of each token."""
        return torch.where(advantages > 0, self.scale_of_positives, self.scale_of_negatives).to(advantages.dtype)


Check = Callable[[PolicyObjective, Expectations], Iterator[Fault]]
"""Yields what is wrong. The name of the function is the name of the rule."""


@dataclass(frozen=True)
class Outcome:
    """What an objective makes of a batch."""

    token_loss: Float[Tensor, "B T"]
    gradient: Float[Tensor, "B T"]
    """Derivative of the sum of the losses in the mask with respect to `logprobs`."""
    statistics: dict[str, Tensor]


def responses(dtype: torch.dtype = torch.float64, log_ratio_width: float = 0.3) -> ObjectiveInputs:
    """Return four responses of six tokens, all in the mask, one advantage each; with width 0, on policy."""
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(3, ROWS, COLUMNS, dtype=torch.float64, generator=generator).to(dtype)
    log_ratios = log_ratio_width * draw[1]
    # The higher of the two stays below -0.1: a log-prob is never positive.
    old_logprobs = -0.1 - draw[0].abs() - log_ratios.clamp(min=0)
    return ObjectiveInputs(
        logprobs=old_logprobs + log_ratios,
        old_logprobs=old_logprobs,
        advantages=torch.tensor(ADVANTAGES, dtype=dtype)[:, None].repeat(1, COLUMNS),
        loss_mask=torch.ones(ROWS, COLUMNS, dtype=torch.bool),
        entropy=draw[2].abs(),
    )


def ragged_responses() -> ObjectiveInputs:
    """Return `responses()` with tokens outside the mask: before, after and amid a response, and a response of one token."""
    mask = torch.tensor([[0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1], [1, 0, 0, 0, 0, 0]]).bool()
    return replace(responses(), loss_mask=mask)


def map_fields(x: ObjectiveInputs, change: Callable[[Tensor], Tensor]) -> ObjectiveInputs:
    """Return inputs with every tensor changed; an entropy of None stays."""
    tensors = {f.name: getattr(x, f.name) for f in fields(x) if getattr(x, f.name) is not None}
    return ObjectiveInputs(**{name: change(values) for name, values in tensors.items()})


def copy_with_gradient(x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], ObjectiveInputs]:
    """Return a leaf and inputs of fresh tensors whose `logprobs` come from it, as they come from a model."""
    fresh = map_fields(x, lambda values: values.detach().clone())
    leaf = fresh.logprobs.requires_grad_()
    with torch.enable_grad():
        return leaf, replace(fresh, logprobs=leaf * 1)


def call(objective: PolicyObjective, x: ObjectiveInputs) -> Any:
    """Return what the objective returns, of whatever type.

    Raises:
        ObjectiveCallError: the objective raised.
    """
    try:
        return objective(x)
    except Exception as error:
        raise ObjectiveCallError(error, x) from error


def outcome(objective: PolicyObjective, x: ObjectiveInputs) -> Outcome:
    """Return losses, gradient and statistics; the inputs are copied first.

    Raises:
        ObjectiveCallError: the objective raised, or its gradient did.
    """
    leaf, fresh = copy_with_gradient(x)
    with torch.enable_grad():
        token_loss, statistics = call(objective, fresh)
        total = torch.where(x.loss_mask, token_loss, 0.0).sum()
    if not total.requires_grad:
        return Outcome(token_loss.detach(), torch.zeros_like(leaf), statistics)
    try:
        (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True, materialize_grads=True)
    except RuntimeError as error:
        raise ObjectiveCallError(error, x) from error
    return Outcome(token_loss.detach(), gradient, statistics)


@dataclass(frozen=True)
class Difference:
    """The first token where two outcomes disagree."""

    row: int
    column: int
    quantity: str
    """`loss` or `gradient`."""
    expected: float
    found: float

    def __str__(self) -> str:
        """Return which quantity went from what to what."""
        return f"the {self.quantity} of token [{self.row}, {self.column}] goes from {self.expected:.6g} to {self.found:.6g}"


def first_difference(expected: Outcome, found: Outcome, among: Bool[Tensor, "B T"], rtol: float = 1e-9) -> Difference | None:
    """Return the first of these tokens whose loss or gradient differs, or None."""
    for quantity, one, other in (
        ("loss", expected.token_loss, found.token_loss),
        ("gradient", expected.gradient, found.gradient),
    ):
        differs = among & ~torch.isclose(other, one, rtol=rtol, atol=1e-12, equal_nan=True)
        if differs.any():
            row, column = differs.nonzero()[0].tolist()
            return Difference(row, column, quantity, float(one[row, column]), float(other[row, column]))
    return None
