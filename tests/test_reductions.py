"""Reductions as weights: each against its loop, and the totals that the weights must add up to."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lit_rlvr.ops import Reduction, loss_weights, step_totals

masks = st.integers(1, 6).flatmap(
    lambda t: st.lists(st.lists(st.booleans(), min_size=t, max_size=t), min_size=1, max_size=6).map(torch.tensor)
)


def looped_loss(token_loss: Tensor, mask: Tensor, reduction: Reduction, divisor: float | None) -> float:
    """Each reduction as its definition reads, one token at a time."""
    rows = [
        [loss for loss, counts in zip(*row, strict=True) if counts]
        for row in zip(token_loss.tolist(), mask.tolist(), strict=True)
    ]
    rows = [row for row in rows if row]
    everything = [loss for row in rows for loss in row]
    if not everything:
        return 0.0
    match reduction:
        case "token-mean":
            return sum(everything) / len(everything)
        case "seq-mean-token-mean":
            return sum(sum(row) / len(row) for row in rows) / len(rows)
        case "seq-mean-token-sum":
            return sum(sum(row) for row in rows) / len(rows)
        case "constant":
            assert divisor is not None
            return sum(everything) / divisor


@settings(deadline=None, max_examples=60)
@given(masks, st.sampled_from(get_args(Reduction)))
def test_each_reduction_equals_its_loop(mask: Tensor, reduction: Reduction) -> None:
    divisor = 24.0 if reduction == "constant" else None
    token_loss = torch.linspace(-1, 3, mask.numel()).reshape(mask.shape)
    weights = loss_weights(mask, reduction, divisor)
    assert torch.isfinite(weights).all()
    assert torch.equal(weights > 0, mask)
    assert (token_loss * weights).sum().item() == pytest.approx(looped_loss(token_loss, mask, reduction, divisor), abs=1e-5)


def test_weights_sum_to_what_is_promised() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    assert loss_weights(mask, "token-mean").sum().item() == pytest.approx(1)
    assert loss_weights(mask, "seq-mean-token-mean").sum().item() == pytest.approx(1)
    assert loss_weights(mask, "seq-mean-token-sum").sum().item() == pytest.approx(8 / 3)
    assert loss_weights(mask, "constant", divisor=16.0).sum().item() == pytest.approx(0.5)


@settings(deadline=None, max_examples=60)
@given(masks, st.sampled_from(get_args(Reduction)))
def test_step_totals_are_those_of_the_weights(mask: Tensor, reduction: Reduction) -> None:
    divisor = 24.0 if reduction == "constant" else None
    totals = step_totals(mask, reduction, divisor)
    weights = loss_weights(mask, reduction, divisor).double()
    assert totals.weight == pytest.approx(weights.sum().item(), rel=1e-6, abs=0)
    assert totals.tokens == sum(sum(row) for row in mask.tolist())
    assert totals.sequences == sum(any(row) for row in mask.tolist())
    weighed = weights if reduction != "seq-mean-token-mean" else weights * mask.sum(dim=1, keepdim=True)
    if totals.tokens:
        torch.testing.assert_close(weighed[mask], torch.full((totals.tokens,), 1 / totals.denominator).double())


@pytest.mark.parametrize("reduction", get_args(Reduction))
def test_padding_rows_and_columns_change_nothing(reduction: Reduction) -> None:
    divisor = 16.0 if reduction == "constant" else None
    mask = torch.tensor([[True, True, False], [False, True, True], [True, True, True]])
    padded = torch.zeros(5, 7, dtype=torch.bool)
    padded[1:4, 2:5] = mask
    assert torch.equal(loss_weights(padded, reduction, divisor)[1:4, 2:5], loss_weights(mask, reduction, divisor))


@pytest.mark.parametrize("reduction", get_args(Reduction))
def test_a_step_without_tokens_weighs_nothing(reduction: Reduction) -> None:
    divisor = 16.0 if reduction == "constant" else None
    assert torch.equal(loss_weights(torch.zeros(2, 3, dtype=torch.bool), reduction, divisor), torch.zeros(2, 3))


@pytest.mark.parametrize("divisor", [None, 0.0, -1.0, math.nan])
def test_constant_needs_a_divisor(divisor: float | None) -> None:
    with pytest.raises(ValueError, match=f"needs a positive divisor.*got {divisor}"):
        loss_weights(torch.ones(2, 2, dtype=torch.bool), "constant", divisor)


def test_a_divisor_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"divisor=4\.0 would do nothing"):
        loss_weights(torch.ones(2, 2, dtype=torch.bool), "token-mean", 4.0)
