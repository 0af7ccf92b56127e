"""GSPO: one importance ratio per response, clipped as a whole."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.clipping import check_clip_range, clip_fractions, out_of_range, unit_ratio
from lit_rlvr.ops import row_mean


@dataclass(frozen=True)
class GSPO(PolicyObjective):
    """Clipped surrogate of the length-normalized sequence ratio `s = exp(mean of log r over the response)`.

    Gradient `-A w` with `w = s` for every token of the response, and `w = 0` where `A > 0, s > 1 + clip_high` or
    `A < 0, s < 1 - clip_low`. Meant with the reduction `seq-mean-token-mean`, which makes it the gradient of
    `-min(s A, clip(s) A)`, averaged over the responses.

    Source: GSPO (arXiv 2507.18071), in the form GSPO-token (its section 4.3), whose gradient is the same when all tokens of a
    response share one advantage; widths of its section 5.1. The mean is over the loss mask.
    """

    clip_low: float = 3e-4
    """Width of the range of `s` below 1: the lower bound is `1 - clip_low`. A mean of logs is far closer to 0 than a log."""
    clip_high: float = 4e-4
    """Width of the range of `s` above 1: the upper bound is `1 + clip_high`."""

    def __post_init__(self) -> None:
        """Reject bounds that leave no range around 1."""
        check_clip_range(self, self.clip_low, self.clip_high)

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss and the clip fractions (tokens of clipped responses)."""
        lower, upper = 1 - self.clip_low, 1 + self.clip_high
        sequence_ratio = row_mean(x.log_ratio.detach(), x.loss_mask).exp().expand_as(x.log_ratio)
        below, above = out_of_range(sequence_ratio, x.advantages, lower, upper)
        clipped = torch.where(below, lower, torch.where(above, upper, sequence_ratio * unit_ratio(x)))
        return -x.advantages * clipped, clip_fractions(below, above)
