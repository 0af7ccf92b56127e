"""KL estimators against exact divergences, row means, entropy classes."""

import doctest
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lit_rlvr import ops
from lit_rlvr.ops import high_entropy_tokens, kl_k1, kl_k2, kl_k3, row_mean

ESTIMATORS = [kl_k1, kl_k2, kl_k3]


def test_the_examples_in_the_docstrings() -> None:
    results = doctest.testmod(ops)
    assert results.attempted >= 5
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


masks = st.integers(1, 6).flatmap(
    lambda t: st.lists(st.lists(st.booleans(), min_size=t, max_size=t), min_size=1, max_size=6).map(torch.tensor)
)


def test_row_mean_ignores_what_is_masked() -> None:
    values = torch.tensor([[1.0, math.nan, 4.0], [math.inf, 4.0, -math.inf], [math.nan] * 3], requires_grad=True)
    mean = row_mean(values, torch.tensor([[True, False, True], [False, True, False], [False] * 3]))
    mean.sum().backward()
    assert torch.equal(mean, torch.tensor([[2.5], [4.0], [0.0]]))
    assert torch.equal(values.grad, torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0], [0.0] * 3]))


@settings(deadline=None, max_examples=40)
@given(masks)
def test_row_mean_equals_its_loop(mask: Tensor) -> None:
    values = torch.linspace(-3, 5, mask.numel(), dtype=torch.float64).reshape(mask.shape)
    rows = [row[counts].tolist() for row, counts in zip(values, mask, strict=True)]
    expected = [[sum(row) / len(row) if row else 0.0] for row in rows]
    torch.testing.assert_close(row_mean(values, mask), torch.tensor(expected, dtype=torch.float64))


@settings(deadline=None, max_examples=200)
@given(masks, st.integers(0, 2**20), st.sampled_from([0.0, 0.25, 0.5, 0.8, 0.9, 0.95]), st.integers(1, 9))
def test_high_entropy_tokens_are_above_the_nanquantile(mask: Tensor, seed: int, quantile: float, num_values: int) -> None:
    """Few values make many ties; rows of one token and of none occur, too."""
    random = torch.Generator().manual_seed(seed)
    entropy = torch.randint(num_values, mask.shape, generator=random).double().sqrt()
    threshold = entropy.masked_fill(~mask, math.nan).nanquantile(quantile, dim=1, keepdim=True)
    expected = mask & (entropy > threshold)
    # Rounding may put the interpolated threshold on either side of a value it equals.
    is_decided = (entropy - threshold).abs().nan_to_num(1.0) > 1e-12
    found = high_entropy_tokens(entropy, mask, quantile)
    assert torch.equal(found & is_decided, expected & is_decided)
    assert not found[~mask].any()


def test_ties_and_short_rows_have_no_high_entropy_token() -> None:
    entropy = torch.tensor([[2.0, 2.0, 2.0], [1.0, 2.0, 2.0], [1.0, 2.0, 3.0], [7.0, 1.0, 1.0], [5.0, 6.0, 7.0]])
    mask = torch.tensor([[True] * 3, [True] * 3, [True] * 3, [True, False, False], [False] * 3])
    expected = torch.tensor([[False] * 3, [False] * 3, [False, False, True], [False] * 3, [False] * 3])
    assert torch.equal(high_entropy_tokens(entropy, mask, quantile=0.5), expected)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 400), st.sampled_from([0.5, 0.8, 0.9]))
def test_the_share_of_high_entropy_tokens_without_ties(num_tokens: int, quantile: float) -> None:
    """Token `i` of `n`, in order, is high if `i > quantile (n - 1)`; exact in tenths."""
    entropy = torch.randperm(num_tokens, generator=torch.Generator().manual_seed(num_tokens))[None].double()
    found = high_entropy_tokens(entropy, torch.ones(1, num_tokens, dtype=torch.bool), quantile)
    tenths = round(10 * quantile)
    assert found.sum() == sum(10 * i > tenths * (num_tokens - 1) for i in range(num_tokens))
