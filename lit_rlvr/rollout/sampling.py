"""Drawing tokens from logits with counter-based randomness: every row has its own stream, and no global generator is touched."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lit_rlvr.rollout.engine import SamplingParams

_GOLDEN = -7046029254386353131
_MULTIPLIERS = (-4658895280553007687, -7723592293110705685)
NUCLEUS_SHORTLIST = 1024
"""Top-p looks at this many most likely tokens first and sorts the whole vocabulary only for rows that need more."""


def _mix(x: Int[Tensor, "*S"]) -> Int[Tensor, "*S"]:
    """Return the splitmix64 finalizer of 64-bit integers (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).

    The right shifts are logical: the copies of the sign bit are masked off.
    """
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _MULTIPLIERS[0]
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _MULTIPLIERS[1]
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def random_streams(seeds: Int[Tensor, "*S"]) -> Int[Tensor, "*S"]:
    """Return the key of each seed's stream. Hashed, so that neighbouring seeds do not give shifted copies of one stream."""
    return _mix(seeds + _GOLDEN)


def uniforms(streams: Int[Tensor, "*S"], step: Int[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Return number `step` of each stream: float32 in [0, 1), a multiple of 2^-23."""
    bits = (_mix(streams + (step + 1) * _GOLDEN) >> 41) & 0x7FFFFF
    return bits.to(torch.float32) * 2.0**-23


def draw(
    logits: Float[Tensor, "N V"], uniform: Float[Tensor, " N"], params: SamplingParams
) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
    """Sample one token per row, by inverting the cumulative distribution in float32.

    Temperature first, then top-k, then top-p on what top-k left, then renormalisation (the order of transformers and vLLM).
    Greedy sampling (temperature 0) takes the first most likely token; it samples from a distribution that has all its mass on
    that token, so its log-prob is 0.

    Returns:
        The tokens, and their log-probs under the distribution they were drawn from. A row whose logits hold NaN or +inf, or
        nothing but -inf, gets a non-finite log-prob and a meaningless token. A token of probability 0 is never drawn.
    """
    logits = logits.float()
    if params.temperature == 0:
        best, token = logits.max(dim=-1)
        return token, best - best
    if params.temperature != 1:
        logits = logits / params.temperature
    if params.top_k == 0 and params.top_p == 1:
        return _invert(logits, uniform)
    return _draw_filtered(logits, uniform, params)


def _draw_filtered(
    logits: Float[Tensor, "N V"], uniform: Float[Tensor, " N"], params: SamplingParams
) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
    vocab_size = logits.shape[1]
    width = min(params.top_k or NUCLEUS_SHORTLIST, vocab_size)
    values, ids = logits.topk(width, dim=-1)
    if params.top_p == 1:
        return _pick(ids, *_invert(values, uniform))
    total = (values if params.top_k else logits).logsumexp(dim=-1, keepdim=True)
    probs = (values - total).exp()
    cumulative = probs.cumsum(dim=-1)
    kept = values.masked_fill(cumulative - probs >= params.top_p, -torch.inf)
    token, logprob = _pick(ids, *_invert(kept, uniform))
    if width < vocab_size and not params.top_k:
        # Decided row by row: a flat row must not change how its neighbours are sampled.
        flat = (cumulative[:, -1] < params.top_p).nonzero().squeeze(1)
        if len(flat):
            everything = SamplingParams(top_p=params.top_p, top_k=vocab_size)
            token[flat], logprob[flat] = _draw_filtered(logits[flat], uniform[flat], everything)
    return token, logprob


def _pick(
    ids: Int[Tensor, "N K"], column: Int[Tensor, " N"], logprob: Float[Tensor, " N"]
) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
    return ids.gather(1, column.unsqueeze(1)).squeeze(1), logprob


def _invert(logits: Float[Tensor, "N K"], uniform: Float[Tensor, " N"]) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
    top = logits.amax(dim=-1, keepdim=True)
    cumulative = (logits - top).exp_().cumsum(dim=-1)
    mass = cumulative[:, -1:]
    # `uniform` is at most 1 - 2^-23, so the product is below the mass even after rounding; NaN would lead past the last column.
    column = torch.searchsorted(cumulative, uniform.unsqueeze(1) * mass, right=True).clamp_(max=logits.shape[1] - 1)
    if logits.device.type != "cpu":
        # A parallel prefix sum may rise by a rounding error at a token without mass: take the most likely one there.
        column = torch.where(logits.gather(1, column).isneginf(), logits.argmax(dim=-1, keepdim=True), column)
    logprob = logits.gather(1, column) - top - mass.log()
    return column.squeeze(1), logprob.squeeze(1)
