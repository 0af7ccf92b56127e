"""The pieces clipped objectives share: who is out of range, a unit with a gradient, the hard dual clip, statistics, checks."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs

Bound = float | Float[Tensor, "B T"]
"""A bound of the ratio: one for all tokens, or one for each."""


def out_of_range(
    ratio: Float[Tensor, "B T"], advantages: Float[Tensor, "B T"], lower: Bound, upper: Bound
) -> tuple[Bool[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Return the tokens that already moved past a bound in the direction of their advantage, as `(below, above)`.

    `below`: negative advantage and ratio under `lower`. `above`: positive advantage and ratio over `upper`.
    """
    return (advantages < 0) & (ratio < lower), (advantages > 0) & (ratio > upper)


def unit_ratio(x: ObjectiveInputs) -> Float[Tensor, "B T"]:
    """Return ones with derivative 1 in `logprobs`, so that `w` times them has both value `w` and gradient `w`."""
    return torch.exp(x.log_ratio - x.log_ratio.detach())


def finite_logprobs(x: ObjectiveInputs) -> Float[Tensor, "B T"]:
    """Return `logprobs`, with 0 and no gradient where the log-ratio is not finite, as `x.ratio` has no gradient there."""
    return torch.where(torch.isfinite(x.logprobs.detach() - x.old_logprobs), x.logprobs, 0.0)


def hard_dual_clip(
    x: ObjectiveInputs, weight: Float[Tensor, "B T"], dual_clip: float | None
) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
    """Return `weight` held at `dual_clip`, without gradient, where `A < 0, r > dual_clip`; and the share of such negatives.

    Source: dual-clip PPO (arXiv 1912.09729, Eq. 5). None changes nothing and has no statistic.
    """
    if dual_clip is None:
        return weight, {}
    is_negative = x.advantages < 0
    is_cut = is_negative & (x.ratio > dual_clip)
    return torch.where(is_cut, dual_clip, weight), {"dual_clip_fraction_negative": share_among(is_cut, is_negative)}


def clip_fractions(
    below: Bool[Tensor, "B T"], above: Bool[Tensor, "B T"], is_high_entropy: Bool[Tensor, "B T"] | None = None
) -> dict[str, Float[Tensor, "B T"]]:
    """Return the statistics `clip_fraction_low` and `clip_fraction_high`, shares of all tokens.

    With entropy classes also `clip_fraction_of_high_entropy` and `clip_fraction_of_low_entropy`: the tokens at either bound, as
    a share of those of the class.
    """
    stats = {"clip_fraction_low": below.float(), "clip_fraction_high": above.float()}
    if is_high_entropy is not None:
        stats["clip_fraction_of_high_entropy"] = share_among(below | above, is_high_entropy)
        stats["clip_fraction_of_low_entropy"] = share_among(below | above, ~is_high_entropy)
    return stats


def share_among(hit: Bool[Tensor, "B T"], among: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Return 1 where `hit`, 0 elsewhere in `among`, and NaN (left out of the mean) outside `among`."""
    return torch.where(among, hit.float(), torch.nan)


def check_clip_range(owner: object, clip_low: float | None, clip_high: float) -> None:
    """Raise ValueError unless the range `[1 - clip_low, 1 + clip_high]` is positive and contains 1."""
    name = type(owner).__name__
    if clip_low is not None and not 0 <= clip_low < 1:
        raise ValueError(f"{name}.clip_low must be in [0, 1), got {clip_low}: the lower bound of the ratio is 1 - clip_low")
    if not (clip_high >= 0 and math.isfinite(clip_high)):
        raise ValueError(
            f"{name}.clip_high must be 0 or positive, got {clip_high}: the upper bound of the ratio is 1 + clip_high"
        )


def check_dual_clip(owner: object, dual_clip: float | None) -> None:
    """Raise ValueError unless the dual clip is off (None) or a finite ratio of at least 1."""
    if dual_clip is not None and not (dual_clip >= 1 and math.isfinite(dual_clip)):
        name = type(owner).__name__
        raise ValueError(f"{name}.dual_clip must be at least 1, got {dual_clip}: it bounds the ratio itself; null turns it off")
