"""ASPO (Archer2.0): positive tokens get the inverse importance ratio, so that the unlikely ones learn fastest."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.clipping import (
    check_clip_range,
    check_dual_clip,
    clip_fractions,
    out_of_range,
    share_among,
    unit_ratio,
)
from lit_rlvr.objectives.entropy_classes import HighEntropyRange, ratio_bounds


@dataclass(frozen=True)
class ASPO(PolicyObjective):
    """Asymmetric importance weights in three steps: mask, flip, dual clip.

    Gradient `-A w`. Tokens out of range (`A > 0, r > 1 + clip_high` or `A < 0, r < 1 - clip_low`) have `w = 0`, as in GRPO.
    The others have `w = 1 / r` for `A > 0` and `w = r` for `A < 0`, at most `dual_clip` (a soft bound: the gradient is
    limited, not removed).

    Source: ASPO (arXiv 2510.06062, section 6, Eq. 3), uniform clip range as in its appendix B. The bound 3 is drawn in its
    Fig. 4 and set in the released code, whose dual clip is soft for both signs. The loss value of a dual-clipped token is
    `-A dual_clip`, continuous at the bound; the released code reports `-A dual_clip logprob`, with the same gradient.

    The paper has one clip range for all tokens, which is the default. The released code takes 0.2 for low-entropy tokens and
    0.4 for those above the 0.8 quantile of their response: set `high_entropy` to `HighEntropyRange(0.4, 0.4, 0.8)`.
    """

    clip_low: float = 0.2
    """Width of the range below 1: a token with a negative advantage has no gradient below `1 - clip_low`."""
    clip_high: float = 0.2
    """Width of the range above 1: a token with a positive advantage has no gradient above `1 + clip_high`."""
    dual_clip: float | None = 3.0
    """Bound of the weight, `1 / r` for positive and `r` for negative advantages; null: none (the paper saw gradient spikes)."""
    soft_negative_dual_clip: bool = True
    """True: a negative token above `dual_clip` keeps the weight `dual_clip` (released code). False: it has none, as in PPO."""
    high_entropy: HighEntropyRange | None = None
    """Clip range of the tokens with the highest entropies, which then is not the one above; null: one range (the paper)."""

    def __post_init__(self) -> None:
        """Reject bounds that leave no range around 1."""
        check_clip_range(self, self.clip_low, self.clip_high)
        check_dual_clip(self, self.dual_clip)

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss and the clip fractions, with `high_entropy` also by entropy class."""
        lower, upper, is_high_entropy = ratio_bounds(x, 1 - self.clip_low, 1 + self.clip_high, self.high_entropy)
        is_negative = x.advantages < 0
        below, above = out_of_range(x.ratio, x.advantages, lower, upper)
        is_masked = below | above
        in_range = torch.where(below, lower, torch.where(above, upper, x.ratio.detach()))
        weight = torch.where(is_negative, in_range, 1 / in_range)
        stats = clip_fractions(below, above, is_high_entropy)
        if self.dual_clip is not None:
            is_capped = weight > self.dual_clip
            weight = weight.clamp(max=self.dual_clip)
            if not self.soft_negative_dual_clip:
                is_masked = is_masked | (is_capped & is_negative)
            stats["dual_clip_fraction_negative"] = share_among(is_capped, is_negative)
            stats["dual_clip_fraction_positive"] = share_among(is_capped, x.advantages > 0)
        return -x.advantages * weight * torch.where(is_masked, 1.0, unit_ratio(x)), stats
