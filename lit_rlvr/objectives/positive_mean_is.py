"""GRPO whose positive responses weigh all their tokens alike, by the mean of their ratios: an ablation of the ASPO paper."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.clipping import check_clip_range, clip_fractions, out_of_range, unit_ratio
from lit_rlvr.ops import row_mean

Mean = Literal["arithmetic", "geometric"]
"""Of the ratios of a response: their mean, or the exponential of the mean of their logs."""


@dataclass(frozen=True)
class PositiveMeanIS(PolicyObjective):
    """Positive tokens are weighted by the mean ratio of their response, negative ones by their own ratio as in GRPO.

    Gradient `-A w`. For `A > 0`: `w` is the mean of `r` over the loss mask of the response, taken as a constant, and `w = 0`
    where `keep_clip_mask` and the token's own `r > 1 + clip_high`. For `A < 0`: `w = r`, and `w = 0` where `r < 1 - clip_low`.

    Source: the ablation with response-level importance weights of ASPO (arXiv 2510.06062, section 5.3), which does not say
    whether the mean is arithmetic or geometric, nor whether the clip mask of positive tokens stays, and has no released code:
    both readings of both are offered. Widths as in its appendix B.
    """

    mean: Mean = "arithmetic"
    """Mean of the ratios of a response: `arithmetic`, or `geometric` (the sequence ratio of GSPO)."""
    keep_clip_mask: bool = True
    """True: positive tokens whose own ratio is above the range have no gradient. False: every positive token has one."""
    clip_low: float = 0.2
    """Width of the range below 1: the lower bound of the ratio of negative tokens is `1 - clip_low`."""
    clip_high: float = 0.2
    """Width of the range above 1, used with `keep_clip_mask`."""

    def __post_init__(self) -> None:
        """Reject bounds that leave no range around 1, and an unknown mean."""
        check_clip_range(self, self.clip_low, self.clip_high)
        if self.mean not in get_args(Mean):
            raise ValueError(f"PositiveMeanIS.mean must be one of {', '.join(get_args(Mean))}, got {self.mean!r}")

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss and the clip fractions (tokens out of range, also where they keep a gradient)."""
        lower, upper = 1 - self.clip_low, 1 + self.clip_high
        if self.mean == "geometric":
            mean_ratio = row_mean(x.log_ratio.detach(), x.loss_mask).exp()
        else:
            mean_ratio = row_mean(x.ratio.detach(), x.loss_mask)
        below, above = out_of_range(x.ratio, x.advantages, lower, upper)
        unit = torch.where(above, 1.0, unit_ratio(x)) if self.keep_clip_mask else unit_ratio(x)
        weight = torch.where(x.advantages > 0, mean_ratio * unit, torch.where(below, lower, x.ratio))
        return -x.advantages * weight, clip_fractions(below, above)
