"""Sampling against known answers: frequencies, filters, and randomness that depends on its counters only."""

import pytest
import torch

from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.sampling import draw, random_streams, uniforms


def splitmix64(x: int) -> int:
    """The finalizer in unlimited integers, as a check of the wrapping 64-bit arithmetic."""
    mask = 2**64 - 1
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def filtered(logits: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """The distribution by its definition: sort, keep, renormalise; one row at a time."""
    rows = []
    for row in logits:
        order = row.argsort(descending=True)[: params.top_k or None]
        probs = (row[order] / params.temperature).softmax(dim=0)
        kept = int((probs.cumsum(dim=0) < params.top_p - 1e-6).sum()) + 1
        full = torch.zeros_like(row)
        full[order[:kept]] = probs[:kept] / probs[:kept].sum()
        rows.append(full)
    return torch.stack(rows)


def many_uniforms(n: int) -> torch.Tensor:
    return uniforms(random_streams(torch.arange(n)), torch.zeros(n, dtype=torch.long))


def test_uniforms_are_splitmix64_of_seed_and_step():
    seeds, steps = torch.tensor([0, 1, 2**63 - 1, 123456789]), torch.tensor([0, 7, 3, 10**6])
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    keys = [splitmix64((s + golden) & mask) for s in seeds.tolist()]
    expected = [
        (splitmix64((key + (step + 1) * golden) & mask) >> 41) / 2**23 for key, step in zip(keys, steps.tolist(), strict=True)
    ]
    assert uniforms(random_streams(seeds), steps).tolist() == expected


def test_uniforms_are_uniform_along_seeds_and_along_steps():
    along_seeds = many_uniforms(20000)
    along_steps = uniforms(random_streams(torch.full((20000,), 5)), torch.arange(20000))
    for u in (along_seeds, along_steps):
        assert 0 <= float(u.min()) <= float(u.max()) < 1
        counts = torch.histc(u, bins=50, min=0, max=1)
        assert float(((counts - 400) ** 2 / 400).sum()) < 94  # chi-square with 49 degrees of freedom: 0.9999 quantile
        assert abs(float(torch.corrcoef(torch.stack([u[:-1], u[1:]]))[0, 1])) < 0.03


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(temperature=0.7),
        SamplingParams(top_k=4),
        SamplingParams(top_p=0.8),
        SamplingParams(temperature=1.5, top_k=6, top_p=0.7),
    ],
)
def test_frequencies_and_logprobs_follow_the_filtered_distribution(params):
    n = 20000
    logits = torch.tensor([[0.3, -1.0, 2.0, 1.1, -torch.inf, 0.0, 1.5, -2.0, 0.9]])
    probs = filtered(logits, params)[0]
    token, logprob = draw(logits.expand(n, -1), many_uniforms(n), params)
    torch.testing.assert_close(logprob, probs.log()[token], atol=1e-5, rtol=0)
    counts = token.bincount(minlength=9).float()
    assert float(counts[probs == 0].sum()) == 0
    kept = probs > 0
    chi_square = ((counts[kept] - n * probs[kept]) ** 2 / (n * probs[kept])).sum()
    assert float(chi_square) < 32  # 0.9999 quantile of 8 degrees of freedom


def test_a_large_vocabulary_is_sampled_right_whether_or_not_the_shortlist_suffices():
    generator = torch.Generator().manual_seed(0)
    peaked = torch.randn(4, 5000, generator=generator) * 4
    flat = torch.randn(4, 5000, generator=generator) * 0.1
    logits = torch.stack([peaked, flat], dim=1).flatten(0, 1)
    params = SamplingParams(top_p=0.9)
    u = many_uniforms(8)
    probs = filtered(logits, params)
    token, logprob = draw(logits, u, params)
    torch.testing.assert_close(logprob, probs.gather(1, token[:, None])[:, 0].log(), atol=1e-3, rtol=0)
    assert (probs[1] > 0).sum() > 1024 > (probs[0] > 0).sum()
    alone = [draw(logits[i : i + 1], u[i : i + 1], params)[0].item() for i in range(8)]
    assert token.tolist() == alone


def test_extreme_uniforms_never_draw_a_token_without_mass():
    logits = torch.full((2, 150_000), -torch.inf)
    logits[:, 100:200] = torch.linspace(-3, 3, 100)
    token, logprob = draw(logits, torch.tensor([0.0, 1 - 2**-23]), SamplingParams())
    assert token.tolist() == [100, 199]
    assert logprob.isfinite().all()


def test_greedy_takes_the_first_best_token_with_logprob_zero():
    token, logprob = draw(torch.tensor([[1.0, 3.0, 3.0, 2.0]]), torch.tensor([0.99]), SamplingParams(temperature=0))
    assert token.tolist() == [1]
    assert logprob.tolist() == [0.0]


@pytest.mark.parametrize("params", [SamplingParams(), SamplingParams(temperature=0), SamplingParams(top_k=3, top_p=0.9)])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_broken_rows_are_marked_and_leave_the_others_alone(params, bad):
    logits = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    clean_token, clean_logprob = draw(logits, many_uniforms(3), params)
    logits[1, 4] = bad
    token, logprob = draw(logits, many_uniforms(3), params)
    assert logprob.isfinite().tolist() == [True, False, True]
    assert (token[::2] == clean_token[::2]).all()
    assert (logprob[::2] == clean_logprob[::2]).all()
    assert 0 <= int(token[1]) < 10
