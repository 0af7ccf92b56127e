"""KL estimators against exact divergences, masked means, reductions against a loop."""

import doctest
import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lit_rlvr import ops
from lit_rlvr.ops import Reduction, kl_k1, kl_k2, kl_k3, loss_weights, masked_mean

ESTIMATORS = [kl_k1, kl_k2, kl_k3]


def test_the_examples_in_the_docstrings() -> None:
    results = doctest.testmod(ops)
    assert results.attempted >= 3
    assert results.failed == 0


def distributions() -> tuple[Tensor, Tensor]:
    """Two distributions over six outcomes, as log-probs, the first with a gradient to its logits."""
    torch.manual_seed(0)
    logits = torch.randn(6, dtype=torch.float64, requires_grad=True)
    return logits, torch.randn(6, dtype=torch.float64).log_softmax(0)


@pytest.mark.parametrize("estimator", [kl_k1, kl_k3])
def test_k1_and_k3_are_unbiased(estimator: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits, reference = distributions()
    logprobs = logits.log_softmax(0)
    mean = (logprobs.exp() * estimator(logprobs, reference)).sum()
    exact = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=logits), torch.distributions.Categorical(logits=reference)
    )
    torch.testing.assert_close(mean, exact, rtol=1e-12, atol=0)


def test_values_by_hand() -> None:
    logprobs, reference = torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-1.0, -1.0, -5.0])
    torch.testing.assert_close(kl_k1(logprobs, reference), torch.tensor([0.0, -1.0, 2.0]))
    torch.testing.assert_close(kl_k2(logprobs, reference), torch.tensor([0.0, 0.5, 2.0]))
    torch.testing.assert_close(kl_k3(logprobs, reference), torch.tensor([0.0, math.e - 2, math.exp(-2) + 1]))


def test_k3_is_exact_next_to_zero() -> None:
    # exp(d) - d - 1 = d^2 / 2 + O(d^3), which a plain exp would lose to rounding in float32
    d = torch.tensor([1e-3, -1e-3])
    torch.testing.assert_close(kl_k3(-d, torch.zeros(2)), d.square() / 2, rtol=2e-3, atol=0)


def mean_gradient(estimator: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The expectation, over samples of the policy, of the gradient of the estimator differentiated as a loss."""
    logits, reference = distributions()
    logprobs = logits.log_softmax(0)
    return torch.autograd.grad((logprobs.detach().exp() * estimator(logprobs, reference)).sum(), logits)[0]


def test_mean_gradients_are_what_the_docstrings_say() -> None:
    logits, reference = distributions()
    p, q = torch.distributions.Categorical(logits=logits), torch.distributions.Categorical(logits=reference)
    reverse = torch.autograd.grad(torch.distributions.kl_divergence(p, q), logits, retain_graph=True)[0]
    forward = torch.autograd.grad(torch.distributions.kl_divergence(q, p), logits)[0]
    assert (reverse - forward).abs().max() > 0.01
    torch.testing.assert_close(mean_gradient(kl_k1), torch.zeros_like(logits), rtol=0, atol=1e-15)
    torch.testing.assert_close(mean_gradient(kl_k2), reverse)
    torch.testing.assert_close(mean_gradient(kl_k3), forward)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_derivatives(estimator: Callable[[Tensor, Tensor], Tensor]) -> None:
    logprobs = torch.tensor([-1.0, -2.0, -3.0], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([-1.0, -0.5, -5.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: estimator(x, reference), (logprobs,))


def test_k3_far_from_the_reference_is_finite_and_keeps_a_gradient() -> None:
    inf = math.inf
    logprobs = torch.tensor([-60.0, -1.0, -inf, -1.0, -inf], requires_grad=True)
    reference = torch.tensor([-1.0, -60.0, -1.0, -inf, -inf])
    value = kl_k3(logprobs, reference)
    (gradient,) = torch.autograd.grad(value.sum(), logprobs)
    assert torch.isfinite(value).all()
    torch.testing.assert_close(gradient, torch.tensor([1 - math.exp(20), 1 - math.exp(-20), 0.0, 0.0, 0.0]))


def test_masked_mean_ignores_what_is_masked() -> None:
    values = torch.tensor([[1.0, math.nan], [math.inf, 4.0]], requires_grad=True)
    mean = masked_mean(values, torch.tensor([[True, False], [False, True]]))
    mean.backward()
    assert mean.item() == 2.5
    assert torch.equal(values.grad, torch.tensor([[0.5, 0.0], [0.0, 0.5]]))


def test_masked_mean_of_nothing_is_zero() -> None:
    assert masked_mean(torch.tensor([math.nan]), torch.tensor([False])).item() == 0


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
