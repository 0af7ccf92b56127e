"""Pure tensor mathematics: estimators of the KL divergence, entropy classes, and reductions as weight tensors."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lit_rlvr.types import StepTotals

MAX_LOG_RATIO = 20.0
"""Log-ratios are limited to ±20 before the exponential: `e^20` is about 5e8."""

Reduction = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "constant"]
"""How the token losses of one optimizer step become one number; see `loss_weights`."""


def limited(log_ratio: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the log-ratio, limited to ±20 in value and with derivative 1; where it is not finite the derivative is 0.

    A plain clamp would take the gradient from the tokens that are furthest off.

    >>> limited(torch.tensor([3.0, 50.0, torch.nan]))
    tensor([ 3., 20.,  0.])
    """
    value = log_ratio.detach().nan_to_num(nan=0.0).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return value + torch.where(torch.isfinite(log_ratio), log_ratio - log_ratio.detach(), 0.0)


def kl_k1(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Estimate KL(policy || reference) per token by `log p - log q`: unbiased on samples of the policy, may be negative.

    Its derivative with respect to `logprobs` is 1 whatever the reference: differentiated as a loss it is noise of mean zero,
    not a penalty. Use it as a metric, or inside the reward.

    Source: J. Schulman, "Approximating KL divergence" (2020).
    """
    return logprobs - ref_logprobs


def kl_k2(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Estimate KL(policy || reference) per token by `(log p - log q)^2 / 2`: biased in value, never negative.

    Its derivative with respect to `logprobs` is `log p - log q`; on samples of the policy its mean is exactly the gradient of
    KL(policy || reference).
    """
    return 0.5 * (logprobs - ref_logprobs).square()


def kl_k3(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Estimate KL(policy || reference) per token by `e^d - d - 1`, `d = log q - log p`: unbiased and never negative.

    Its derivative with respect to `logprobs` is `1 - e^d`; on samples of the policy its mean is the gradient of the
    *opposite* divergence, KL(reference || policy), which has the same minimum. `d` is limited to ±20; the limit acts on the
    value only, so that tokens far from the reference keep their gradient. Where `d` is not finite there is none.

    >>> kl_k3(torch.tensor([0.0, -1.0]), torch.tensor([0.0, 0.0]))
    tensor([0.0000, 0.7183])
    """
    difference = limited(ref_logprobs - logprobs)
    return torch.expm1(difference) - difference


def row_mean(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B 1"]:
    """Return the mean of each row where `mask` is True, and 0 for a row where that is nowhere. Values elsewhere may be NaN.

    >>> row_mean(torch.tensor([[1.0, 3.0, torch.nan], [5.0, 6.0, 7.0]]), torch.tensor([[True, True, False], [False] * 3]))
    tensor([[2.],
            [0.]])
    """
    return torch.where(mask, values, 0.0).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def high_entropy_tokens(entropy: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], quantile: float) -> Bool[Tensor, "B T"]:
    """Return the tokens whose entropy lies above the quantile of their own row; elsewhere in the mask, and outside it, False.

    The quantile of a row with `n` tokens interpolates linearly between its order statistics, at position `quantile (n - 1)`. The
    token of a row of one is not above its own quantile.

    Source: Archer (arXiv 2507.15778, Eq. 2), as released: strictly above. (The paper counts a token exactly at the quantile as
    high; without ties that is at most one token of a row.)

    >>> high_entropy_tokens(torch.tensor([[0.1, 0.9, 0.3, 5.0]]), torch.tensor([[True, True, True, False]]), quantile=0.8)
    tensor([[False,  True, False, False]])
    """
    ordered = torch.where(mask, entropy, torch.inf).sort(dim=1).values
    position = quantile * (mask.sum(dim=1, keepdim=True).to(ordered.dtype) - 1).clamp(min=0)
    below, above = (ordered.gather(1, index.long()) for index in (position.floor(), position.ceil()))
    # Where both are the same token the difference may be inf - inf (a row without tokens).
    threshold = below + torch.where(above > below, (above - below) * (position - position.floor()), 0.0)
    return mask & (entropy > threshold)


def loss_weights(
    loss_mask: Bool[Tensor, "B T"], reduction: Reduction, divisor: float | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "B T"]:
    """Return the reduction of one optimizer step as weights: its loss is `(token_loss * weights).sum()`.

    `loss_mask` holds *all* completions of the step, over all ranks and micro-batches; slice the result along with them. With
    `N` tokens in the mask, `n_i` of them in row `i`, and `S` rows that have any, a token of row `i` weighs

    - `token-mean`: `1 / N`. The weights sum to 1.
    - `seq-mean-token-mean`: `1 / (S n_i)`. The weights sum to 1.
    - `seq-mean-token-sum`: `1 / S`. The weights sum to the mean length `N / S`.
    - `constant`: `1 / divisor`. The weights sum to `N / divisor`.

    For Dr. GRPO (arXiv 2503.20783) the constant is completions per optimizer step times the maximum of tokens per completion.
    It is stated, not counted: neither the lengths nor how many completions a filter left changes what one token weighs.

    A row without tokens weighs nothing and is not counted in `S`; a mask without tokens gives zeros.

    Raises:
        ValueError: an unknown reduction, `constant` without a positive divisor, or a divisor for any other reduction.

    >>> loss_weights(torch.tensor([[True, False], [True, True]]), "seq-mean-token-mean")
    tensor([[0.5000, 0.0000],
            [0.2500, 0.2500]])
    """
    if reduction not in get_args(Reduction):
        raise ValueError(f"unknown reduction {reduction!r}; choose one of {', '.join(get_args(Reduction))}")
    if reduction != "constant" and divisor is not None:
        raise ValueError(f"divisor={divisor} would do nothing with the reduction {reduction!r}; only 'constant' has one")
    weights = loss_mask.to(dtype)
    tokens_of_row = loss_mask.sum(dim=1, keepdim=True)
    if reduction == "constant":
        if divisor is None or not divisor > 0:
            raise ValueError(f"the reduction 'constant' needs a positive divisor (completions x maximum tokens), got {divisor}")
        return weights / divisor
    if reduction == "token-mean":
        return weights / tokens_of_row.sum().clamp(min=1)
    num_sequences = (tokens_of_row > 0).sum().clamp(min=1)
    if reduction == "seq-mean-token-mean":
        return weights / tokens_of_row.clamp(min=1) / num_sequences
    return weights / num_sequences


def step_totals(loss_mask: Bool[Tensor, "B T"], reduction: Reduction, divisor: float | None = None) -> StepTotals:
    """Return what the weights of `loss_weights` must add up to, worked out from the mask alone.

    >>> step_totals(torch.tensor([[True, False], [True, True]]), "seq-mean-token-sum")
    StepTotals(tokens=3, sequences=2, denominator=2.0, weight=1.5)
    """
    tokens, sequences = int(loss_mask.sum()), int(loss_mask.any(dim=1).sum())
    denominator = {
        "token-mean": tokens,
        "seq-mean-token-mean": sequences,
        "seq-mean-token-sum": sequences,
        "constant": divisor,
    }[reduction]
    if not tokens or not denominator:
        return StepTotals(tokens, sequences, float(denominator or 0), 0.0)
    numerator = sequences if reduction == "seq-mean-token-mean" else tokens
    return StepTotals(tokens, sequences, float(denominator), numerator / denominator)
