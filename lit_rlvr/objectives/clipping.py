"""The pieces clipped objectives share: who is out of range, a unit with a gradient, clip fractions, checks of the bounds."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs


def out_of_range(x: ObjectiveInputs, clip_low: float, clip_high: float) -> tuple[Bool[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Return the tokens that already moved past a bound in the direction of their advantage, as `(below, above)`.

    `below`: negative advantage and ratio under `1 - clip_low`. `above`: positive advantage and ratio over `1 + clip_high`.
    """
    below = (x.advantages < 0) & (x.ratio < 1 - clip_low)
    above = (x.advantages > 0) & (x.ratio > 1 + clip_high)
    return below, above


def unit_ratio(x: ObjectiveInputs) -> Float[Tensor, "B T"]:
    """Return ones with derivative 1 in `logprobs`, so that `w` times them has both value `w` and gradient `w`."""
    return x.ratio / x.ratio.detach()


def finite_logprobs(x: ObjectiveInputs) -> Float[Tensor, "B T"]:
    """Return `logprobs`, with 0 and no gradient where the log-ratio is not finite, as `x.ratio` has no gradient there."""
    return torch.where(torch.isfinite(x.logprobs.detach() - x.old_logprobs), x.logprobs, 0.0)


def clip_fractions(below: Bool[Tensor, "B T"], above: Bool[Tensor, "B T"]) -> dict[str, Float[Tensor, "B T"]]:
    """Return the statistics `clip_fraction_low` and `clip_fraction_high`, shares of all tokens."""
    return {"clip_fraction_low": below.float(), "clip_fraction_high": above.float()}


def share_among(hit: Bool[Tensor, "B T"], among: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Return 1 where `hit`, 0 elsewhere in `among`, and NaN (left out of the mean) outside `among`."""
    return torch.where(among, hit.float(), torch.nan)


def check_clip_range(objective: object, clip_low: float | None, clip_high: float) -> None:
    """Raise ValueError unless the range `[1 - clip_low, 1 + clip_high]` is positive and contains 1."""
    name = type(objective).__name__
    if clip_low is not None and not 0 <= clip_low < 1:
        raise ValueError(f"{name}.clip_low must be in [0, 1), got {clip_low}: the lower bound of the ratio is 1 - clip_low")
    if not (clip_high >= 0 and math.isfinite(clip_high)):
        raise ValueError(
            f"{name}.clip_high must be 0 or positive, got {clip_high}: the upper bound of the ratio is 1 + clip_high"
        )


def check_dual_clip(objective: object, dual_clip: float | None) -> None:
    """Raise ValueError unless the dual clip is off (None) or a finite ratio above 1."""
    if dual_clip is not None and not (dual_clip > 1 and math.isfinite(dual_clip)):
        name = type(objective).__name__
        raise ValueError(f"{name}.dual_clip must be above 1, got {dual_clip}: it bounds the ratio itself; null turns it off")
