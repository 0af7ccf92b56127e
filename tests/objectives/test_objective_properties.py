"""Properties that hold for every objective and any batch: hypothesis looks for one where they do not."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import batches, every_objective, loss_and_gradient, map_fields
from torch import Tensor
from torch.nn.functional import pad

from lit_rlvr.objectives import GPPO, GRPO, Archer, ObjectiveInputs, PolicyObjective

examples = settings(deadline=None, max_examples=15)
EXTREME = (-math.inf, math.inf, math.nan, -50.0, 50.0, -0.1, 0.0, 0.1)


def assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """Losses and gradients agree; a sum over a row may be rounded differently where its length differs."""
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


@every_objective
@examples
@given(x=batches(log_ratios=(0.0,)))
def test_on_policy_it_is_reinforce(objective: PolicyObjective, x: ObjectiveInputs) -> None:
    _, gradient = loss_and_gradient(objective, x)
    torch.testing.assert_close(gradient[x.loss_mask], -x.advantages[x.loss_mask], rtol=1e-14, atol=0)


@every_objective
@examples
@given(x=batches(), order=st.permutations(range(4)))
def test_the_order_of_rows_changes_nothing(objective: PolicyObjective, x: ObjectiveInputs, order: list[int]) -> None:
    rows = torch.tensor([row for row in order if row < len(x.logprobs)])
    loss, gradient = loss_and_gradient(objective, x)
    assert_same(loss_and_gradient(objective, map_fields(x, lambda t: t[rows])), (loss[rows], gradient[rows]))


@every_objective
@examples
@given(x=batches(), row=st.integers(0, 3))
def test_a_row_does_not_see_the_others(objective: PolicyObjective, x: ObjectiveInputs, row: int) -> None:
    only = slice(row % len(x.logprobs), row % len(x.logprobs) + 1)
    loss, gradient = loss_and_gradient(objective, x)
    assert_same(loss_and_gradient(objective, map_fields(x, lambda t: t[only])), (loss[only], gradient[only]))


@every_objective
@examples
@given(x=batches(), left=st.integers(0, 3), right=st.integers(0, 3), below=st.integers(0, 2))
def test_padding_changes_nothing(objective: PolicyObjective, x: ObjectiveInputs, left: int, right: int, below: int) -> None:
    rows, columns = x.logprobs.shape
    padded = loss_and_gradient(objective, map_fields(x, lambda t: pad(t, (left, right, 0, below))))
    assert all(torch.isfinite(values).all() for values in padded)
    loss, gradient = (values[:rows, left : left + columns] for values in padded)
    assert_same((loss, gradient), loss_and_gradient(objective, x))


@every_objective
@examples
@given(x=batches(), garbage=st.sampled_from([-math.inf, -700.0, 0.0]), entropy=st.sampled_from([math.nan, -1.0, 1e30]))
def test_masked_tokens_change_nothing(objective: PolicyObjective, x: ObjectiveInputs, garbage: float, entropy: float) -> None:
    assert x.entropy is not None
    spoilt = replace(
        x,
        logprobs=x.logprobs.masked_fill(~x.loss_mask, garbage),
        entropy=x.entropy.masked_fill(~x.loss_mask, entropy),
    )
    found, expected = loss_and_gradient(objective, spoilt), loss_and_gradient(objective, x)
    assert all(torch.isfinite(values).all() for values in found)
    assert_same((found[0][x.loss_mask], found[1][x.loss_mask]), (expected[0][x.loss_mask], expected[1][x.loss_mask]))


@every_objective
@examples
@given(x=batches() | batches(EXTREME))
def test_zero_advantage_has_exactly_no_gradient(objective: PolicyObjective, x: ObjectiveInputs) -> None:
    _, gradient = loss_and_gradient(objective, x)
    is_zero = x.advantages == 0
    assert torch.equal(gradient[is_zero], torch.zeros(int(is_zero.sum()), dtype=gradient.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@every_objective
@examples
@given(x=batches(EXTREME))
def test_extreme_log_ratios_stay_finite(objective: PolicyObjective, dtype: torch.dtype, x: ObjectiveInputs) -> None:
    x = map_fields(x, lambda t: t.to(dtype) if t.is_floating_point() else t)
    loss, gradient = loss_and_gradient(objective, x)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all()
    is_broken = ~torch.isfinite(x.logprobs - x.old_logprobs)
    assert not gradient[is_broken].any(), "a log-ratio that is not finite has no gradient"
    assert not any(torch.isinf(statistic).any() for statistic in objective(x)[1].values())


@settings(deadline=None, max_examples=100)
@given(
    x=batches() | batches(EXTREME),
    low=st.sampled_from([0.0, 0.2, 0.4]),
    high=st.sampled_from([0.0, 0.28, 4.0]),
    dual=st.sampled_from([None, 1.0, 3.0, 10.0]),
)
def test_gppo_has_the_value_of_clip_higher_to_the_bit(x: ObjectiveInputs, low: float, high: float, dual: float | None) -> None:
    x = map_fields(x, lambda t: t.float() if t.is_floating_point() else t)
    assert torch.equal(GPPO(low, high, dual_clip=dual)(x)[0], GRPO(low, high, dual_clip=dual)(x)[0])


@examples
@given(x=batches())
def test_archer_without_classes_is_grpo(x: ObjectiveInputs) -> None:
    assert_same(loss_and_gradient(Archer(high_entropy=None), x), loss_and_gradient(GRPO(), x))
