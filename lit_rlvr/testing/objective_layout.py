"""A token's loss does not depend on the layout: not on other rows, not on padding, not on what lies outside the mask."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.testing.objective_findings import Fault, number
from lit_rlvr.testing.objective_probes import (
    COLUMNS,
    ROWS,
    Difference,
    Expectations,
    Outcome,
    first_difference,
    map_fields,
    outcome,
    ragged_responses,
    responses,
)

LAYOUT_MATTERS = "the gradient would change with the micro-batch size, the number of ranks, and the padding"
FLOATS = ("logprobs", "old_logprobs", "advantages", "entropy")
GARBAGE = dict.fromkeys(FLOATS, (torch.nan, 1e30, -7.0)) | {"advantages": (1e30, -7.0)}
"""An advantage is always finite: a loss that spreads the ratio of a response over its row may multiply by it."""


def does_not_reduce(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require losses that more rows or more padding do not scale, and that not all tokens share."""
    x = responses()
    reference = outcome(objective, x)
    expected = "one loss per token, neither averaged nor divided"
    cause = "a `.mean()` or a division by a number of tokens inside; the module's loss weights do that, over the whole step"
    losses = reference.token_loss
    if losses.numel() > 1 and torch.all(losses == losses[0, 0]):
        found = f"all {losses.numel()} tokens have the loss {number(losses[0, 0])}, whatever their advantage and ratio"
        yield Fault(expected, found, LAYOUT_MATTERS, cause)
        return
    larger = {
        "every row twice in the batch": map_fields(x, lambda values: torch.cat([values, values])),
        "as many columns of padding again": map_fields(x, lambda values: torch.cat([values, torch.zeros_like(values)], dim=1)),
    }
    for description, batch in larger.items():
        factor = _common_factor(reference, outcome(objective, batch))
        if factor is not None:
            found = f"with {description}, every token's gradient and loss are multiplied by {number(factor)}"
            yield Fault(expected, found, LAYOUT_MATTERS, cause)


def _common_factor(reference: Outcome, found: Outcome) -> float | None:
    """Return by what all losses and gradients were multiplied, None when by different factors or by 1."""
    factors = [
        (new[:ROWS, :COLUMNS] / old)[(old != 0) & old.isfinite()]
        for old, new in ((reference.token_loss, found.token_loss), (reference.gradient, found.gradient))
    ]
    together = torch.cat(factors)
    if not len(together) or not torch.allclose(together, together[0], rtol=1e-6, atol=0):
        return None
    return None if abs(float(together[0]) - 1) < 1e-6 else float(together[0])


def keeps_rows_apart(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require the same losses of a row alone, in another place, and beside other rows."""
    x = ragged_responses()
    reference = outcome(objective, x)
    alone = map_fields(x, lambda values: values[:1])
    culprits: dict[str, Difference] = {}
    for name in (*FLOATS, "loss_mask"):
        changed = outcome(objective, replace(x, **{name: _with_other_rows_changed(getattr(x, name))}))
        difference = first_difference(reference, changed, _only_row(x, 0))
        if difference:
            culprits[f"the {name} of the other rows"] = difference
    mirrored = outcome(objective, map_fields(x, lambda values: values.flip(0)))
    back = Outcome(mirrored.token_loss.flip(0), mirrored.gradient.flip(0), {})
    first_row = Outcome(reference.token_loss[:1], reference.gradient[:1], {})
    for description, difference in (
        ("the other rows are taken away", first_difference(first_row, outcome(objective, alone), alone.loss_mask)),
        ("the rows are put in reverse order", first_difference(reference, back, x.loss_mask)),
    ):
        if difference and not culprits:
            culprits[description] = difference
    if culprits:
        is_advantage = "the advantages of the other rows" in culprits
        yield Fault(
            "losses and gradients of a row that depend on that row only",
            f"they depend on {', '.join(culprits)}: {next(iter(culprits.values()))}",
            LAYOUT_MATTERS,
            "advantages normalised over the batch inside the objective, or another mean over the batch dimension"
            if is_advantage
            else "a mean, sum or maximum over the batch dimension; within a response use `dim=1, keepdim=True`",
        )


def _with_other_rows_changed(values: Tensor) -> Tensor:
    # Signs stay: a log-prob is never positive, an entropy never negative.
    others = values[1:]
    changed = others.roll(1, dims=1) if values.dtype == torch.bool else 2 * others + 0.5 * others.sign()
    return torch.cat([values[:1], changed])


def _only_row(x: ObjectiveInputs, row: int) -> Tensor:
    is_row = torch.zeros_like(x.loss_mask)
    is_row[row] = True
    return x.loss_mask & is_row


def ignores_tokens_outside_mask(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require that what stands outside the mask, and how much of it, changes nothing inside."""
    x = ragged_responses()
    reference = outcome(objective, x)
    why = "outside the mask there are prompts, tool outputs and padding: numbers that mean nothing, and may be NaN"
    cause = (
        "a mean, quantile or sum over all columns; use `row_mean(values, x.loss_mask)`, and `torch.where`, not a product, "
        "to leave tokens out: 0 * NaN is NaN"
    )
    for name in FLOATS:
        for garbage in GARBAGE[name]:
            values = torch.where(x.loss_mask, getattr(x, name), garbage)
            difference = first_difference(reference, outcome(objective, replace(x, **{name: values})), x.loss_mask)
            if difference:
                found = f"with {name} = {garbage:g} in the tokens outside the mask, {difference}, a token inside"
                yield Fault("losses and gradients inside the mask that ignore what is outside", found, why, cause)
                break
        else:
            continue
        return
    for side, amount in (("right", (0, 5)), ("left", (5, 0))):
        padded = map_fields(x, lambda values, amount=amount: torch.nn.functional.pad(values, amount))  # type: ignore[misc]
        inside = outcome(objective, padded)
        columns = slice(amount[0], amount[0] + COLUMNS)
        trimmed = Outcome(inside.token_loss[:, columns], inside.gradient[:, columns], {})
        difference = first_difference(reference, trimmed, x.loss_mask)
        if difference:
            found = f"with five columns of padding on the {side}, {difference}"
            yield Fault("losses that do not depend on the amount of padding", found, LAYOUT_MATTERS, cause)
            return


def survives_empty_rows(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require that a row without a token in the mask is finite, has no gradient, and disturbs no other."""
    x = ragged_responses()
    reference = outcome(objective, x)
    mask = x.loss_mask.clone()
    mask[1] = False
    with_empty_row = outcome(objective, replace(x, loss_mask=mask))
    difference = first_difference(reference, with_empty_row, mask)
    losses, gradients = with_empty_row.token_loss[1], with_empty_row.gradient[1]
    if difference:
        found = f"with row 1 outside the mask, {difference}"
    elif not losses.isfinite().all():
        found = f"a loss of {number(losses[~losses.isfinite()][0])} in the empty row"
    elif gradients.any():
        found = f"a gradient of {number(gradients[gradients != 0][0])} in the empty row"
    else:
        return
    yield Fault(
        "a row without tokens in the mask that is finite, without gradient, and of no effect on other rows",
        found,
        "an overlong or failed response is masked out as a whole; its NaN would reach the model",
        "a mean over no tokens is 0 / 0; use `row_mean(values, x.loss_mask)`, which is 0 there",
    )
