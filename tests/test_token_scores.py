"""Chunked log-probs and entropies against the plain formulas on all logits at once, and the memory they save."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lit_rlvr.token_scores import token_scores

NUM_TOKENS, HIDDEN, VOCABULARY = 13, 8, 29
BENCHMARK = Path(__file__).parent.parent / "examples" / "benchmarks" / "logprob_memory.py"


def problem(dtype: torch.dtype = torch.float32) -> tuple[Tensor, nn.Linear, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(NUM_TOKENS, HIDDEN, dtype=dtype, requires_grad=True)
    head = nn.Linear(HIDDEN, VOCABULARY, dtype=dtype)
    return hidden, head, torch.randint(VOCABULARY, (NUM_TOKENS,))


def plain_scores(hidden: Tensor, head: nn.Linear, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    distribution = torch.distributions.Categorical(logits=head(hidden) / temperature)
    return distribution.log_prob(targets), distribution.entropy()


def gradients(scores: tuple[Tensor, Tensor], hidden: Tensor, head: nn.Linear) -> tuple[Tensor, ...]:
    """Gradients of an uneven mixture, so that no token can stand in for another."""
    weights = torch.linspace(-1, 2, NUM_TOKENS, dtype=hidden.dtype)
    loss = (weights * scores[0]).sum() + (weights.flip(0) * scores[1]).sum()
    return torch.autograd.grad(loss, [hidden, head.weight, head.bias])


@pytest.mark.parametrize("chunk_size", [1, 5, 13, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_equals_the_scores_from_all_logits(chunk_size: int, temperature: float) -> None:
    hidden, head, targets = problem()
    expected = plain_scores(hidden, head, targets, temperature)
    scores = token_scores(hidden, head, targets, temperature, chunk_size, with_entropy=True)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(gradients(scores, hidden, head), gradients(expected, hidden, head), rtol=1e-5, atol=1e-6)


def test_gradcheck_in_float64() -> None:
    hidden, head, targets = problem(torch.float64)

    def scores(hidden: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return token_scores(hidden, lambda h: nn.functional.linear(h, weight, bias), targets, 0.7, 4, with_entropy=True)

    assert torch.autograd.gradcheck(scores, (hidden, head.weight, head.bias))


def test_without_entropy_there_is_none() -> None:
    hidden, head, targets = problem()
    logprobs, entropy = token_scores(hidden, head, targets, chunk_size=4)
    assert entropy is None
    torch.testing.assert_close(logprobs, plain_scores(hidden, head, targets, 1.0)[0])


def test_a_detached_entropy_is_equal_but_has_no_gradient() -> None:
    hidden, head, targets = problem()
    logprobs, entropy = token_scores(hidden, head, targets, chunk_size=4, with_entropy=True, detach_entropy=True)
    expected_logprobs, expected_entropy = plain_scores(hidden, head, targets, 1.0)
    torch.testing.assert_close(entropy, expected_entropy.detach(), rtol=0, atol=1e-6)
    assert not entropy.requires_grad
    gradient = torch.autograd.grad(logprobs.sum(), head.weight)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(expected_logprobs.sum(), head.weight)[0])


def test_without_gradients_nothing_is_computed_twice() -> None:
    hidden, head, targets = problem()
    calls: list[int] = []

    def counted(chunk: Tensor) -> Tensor:
        calls.append(len(chunk))
        return head(chunk)

    with torch.no_grad():
        logprobs, _ = token_scores(hidden, counted, targets, chunk_size=5)
    assert calls == [5, 5, 3]
    assert not logprobs.requires_grad
    token_scores(hidden, counted, targets, chunk_size=5)[0].sum().backward()
    assert len(calls) == 3 + 6, "with gradients each chunk is computed once more in the backward pass"


def test_logits_of_minus_infinity_have_probability_zero() -> None:
    hidden, head, targets = problem()
    allowed = torch.arange(VOCABULARY) % 3 != 0
    targets = torch.where(allowed[targets], targets, 1)

    def masked_head(chunk: Tensor) -> Tensor:
        return head(chunk).masked_fill(~allowed, -math.inf)

    scores = token_scores(hidden, masked_head, targets, chunk_size=4, with_entropy=True)
    small_head = nn.Linear(HIDDEN, int(allowed.sum()))
    small_head.load_state_dict({"weight": head.weight[allowed], "bias": head.bias[allowed]})
    expected = plain_scores(hidden, small_head, (allowed.cumsum(0) - 1)[targets], 1.0)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)
    from_all, weight, bias = gradients(scores, hidden, head)
    from_allowed, small_weight, small_bias = gradients(expected, hidden, small_head)
    torch.testing.assert_close((from_all, weight[allowed], bias[allowed]), (from_allowed, small_weight, small_bias))
    assert torch.equal(weight[~allowed], torch.zeros_like(weight[~allowed]))


def test_a_target_of_probability_zero_poisons_no_gradient() -> None:
    hidden, head, targets = problem()
    logprobs, entropy = token_scores(
        hidden, lambda h: head(h).index_fill(1, targets[:1], -math.inf), targets, chunk_size=4, with_entropy=True
    )
    assert logprobs[0].item() == -math.inf
    assert torch.isfinite(entropy).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients((logprobs, entropy), hidden, head))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_normalizes_in_float32_under_autocast(half: torch.dtype) -> None:
    hidden, head, targets = problem()
    with torch.autocast("cpu", dtype=half):
        logits = head(hidden)
        logprobs, entropy = token_scores(hidden, head, targets, temperature=0.5, chunk_size=4, with_entropy=True)
    assert logits.dtype == half
    assert logprobs.dtype == entropy.dtype == torch.float32
    exact = (logits.float() / 0.5).log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
    torch.testing.assert_close(logprobs, exact, rtol=0, atol=1e-6)
    logprobs.sum().backward()
    assert torch.isfinite(head.weight.grad).all()


def test_no_tokens_still_have_a_graph() -> None:
    hidden, head, targets = problem()
    logprobs, entropy = token_scores(hidden[:0], head, targets[:0], with_entropy=True)
    assert logprobs.shape == entropy.shape == (0,)
    logprobs.sum().backward()
    assert torch.equal(head.weight.grad, torch.zeros_like(head.weight))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature must be positive.*got {temperature}"):
        token_scores(*problem(), temperature=temperature)


def test_an_empty_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        token_scores(*problem(), chunk_size=0)


def test_benchmark_shows_memory_that_does_not_grow_with_the_tokens() -> None:
    command = [sys.executable, str(BENCHMARK), "--vocabulary", "16384", "--tokens", "512", "2048", "--device", "cpu"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    _, short, long = (line.split() for line in table.strip().splitlines())
    plain_short, ours_short, plain_long, ours_long = map(float, [*short[2:4], *long[2:4]])
    assert plain_long > 3 * plain_short
    assert ours_long < 1.5 * ours_short
    assert plain_long > 2.5 * ours_long
