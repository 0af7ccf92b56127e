"""What an objective returns: one loss per token, and statistics that are shares, detached, and always the same ones."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.testing.objective_findings import Fault, number
from lit_rlvr.testing.objective_probes import COLUMNS, ROWS, Expectations, call, copy_with_gradient, responses

SHARE_WORDS = ("fraction", "share")
"""A statistic with one of these in its name must lie between 0 and 1."""


def returns_token_losses(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require a pair: a loss `[B, T]` and a dictionary."""
    expected = f"a tuple (token_loss, statistics), the loss of shape [B, T] = [{ROWS}, {COLUMNS}]"
    result = call(objective, copy_with_gradient(responses(torch.float32))[1])
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor) and isinstance(result[1], dict)):
        parts = f" of {', '.join(type(part).__name__ for part in result)}" if isinstance(result, tuple) else ""
        yield Fault(
            expected,
            f"{type(result).__name__}{parts}",
            "the module unpacks exactly these two",
            "`return token_loss` alone? Return `token_loss, {}` when there is nothing to count",
        )
        return
    token_loss = result[0]
    if token_loss.shape != (ROWS, COLUMNS):
        reduced = {0: "over all tokens", 1: "over a response"}.get(token_loss.dim(), "over a dimension")
        yield Fault(
            expected,
            f"a loss of shape {list(token_loss.shape)}",
            "the reduction is the module's: its weights come from the whole optimizer step, over all ranks and micro-batches",
            f"a reduction inside: a `.mean()` or `.sum()` {reduced}; leave it out",
        )
    elif not token_loss.is_floating_point():
        yield Fault(expected, f"a loss of type {token_loss.dtype}", "it has no gradient", "a comparison returned as the loss?")


def returns_statistics(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require statistics `[B, T]`: floating, detached, never infinite, shares in [0, 1], always under the same names."""
    x = copy_with_gradient(responses(torch.float32, log_ratio_width=2.0))[1]
    statistics = call(objective, x)[1]
    token = torch.zeros(1, 1)
    names_of_one = set(call(objective, ObjectiveInputs(token, token, token, torch.ones(1, 1, dtype=torch.bool), token))[1])
    if names_of_one != set(statistics):
        yield Fault(
            "the same statistics for every batch",
            f"{sorted(map(str, statistics))} for a batch, {sorted(map(str, names_of_one))} for a single token",
            "the module asks for the names once, with a single token, and makes room for these",
            "a statistic added under a condition on the data; return it always, NaN where it does not apply",
        )
    for name, values in statistics.items():
        fault = _fault_of(name, values)
        if fault:
            expected, found, cause = fault
            why = "the module averages statistics over the mask, over the optimizer steps of an iteration and over all ranks"
            yield Fault(f"statistic {name!r}: {expected}", found, why, cause)


def _fault_of(name: object, values: object) -> tuple[str, str, str] | None:
    if not isinstance(name, str):
        return "a name that is a string", f"{name!r}", "a key of another type"
    if not isinstance(values, Tensor):
        return (
            "a tensor of shape [B, T]",
            f"{type(values).__name__} {values!r}",
            "`.item()` or `float()`: return one value per token",
        )
    if values.shape != (ROWS, COLUMNS):
        return f"shape [B, T] = [{ROWS}, {COLUMNS}]", f"shape {list(values.shape)}", "a mean inside: return one value per token"
    if not values.is_floating_point():
        return "a floating type", f"{values.dtype}", "a comparison: add `.float()`"
    if values.requires_grad:
        return "no gradient", "a statistic that requires a gradient", "add `.detach()`: it keeps the whole graph in memory"
    if torch.isinf(values).any():
        return (
            "finite values, or NaN where it does not apply",
            "an infinite value",
            "a division by 0 or an unlimited exponential",
        )
    is_share = any(word in name for word in SHARE_WORDS)
    outside = values[(values < 0) | (values > 1)]
    if is_share and len(outside):
        return (
            "a share between 0 and 1, as its name says",
            number(outside[0]),
            "a count or an average under the name of a share",
        )
    return None
