"""GRPO: the clipped surrogate of PPO on group-relative advantages; also DAPO's clip-higher and the dual clip."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.clipping import check_clip_range, check_dual_clip, clip_fractions, hard_dual_clip, out_of_range


@dataclass(frozen=True)
class GRPO(PolicyObjective):
    """Clipped surrogate `-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)`.

    Gradient `-A w` with `w = r`, and `w = 0` where `A > 0, r > 1 + clip_high`, where `A < 0, r < 1 - clip_low`, and, with a
    dual clip `c`, where `A < 0, r > c`: a clipped token teaches nothing.

    Sources: PPO (arXiv 1707.06347, Eq. 7), GRPO (arXiv 2402.03300, Eq. 3), clip-higher of DAPO (arXiv 2503.14476; set
    `clip_high=0.28`), dual clip (arXiv 1912.09729).
    """

    clip_low: float = 0.2
    """Width of the range below 1: the lower bound of the ratio is `1 - clip_low`."""
    clip_high: float = 0.2
    """Width of the range above 1: the upper bound of the ratio is `1 + clip_high`. DAPO uses 0.28."""
    dual_clip: float | None = None
    """Ratio above which a token with a negative advantage has no gradient (10 in Klear's runs); null: no such bound."""

    def __post_init__(self) -> None:
        """Reject bounds that leave no range around 1."""
        check_clip_range(self, self.clip_low, self.clip_high)
        check_dual_clip(self, self.dual_clip)

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss and the clip fractions."""
        lower, upper = 1 - self.clip_low, 1 + self.clip_high
        below, above = out_of_range(x.ratio, x.advantages, lower, upper)
        clipped = torch.where(below, lower, torch.where(above, upper, x.ratio))
        weight, dual_clip_fraction = hard_dual_clip(x, clipped, self.dual_clip)
        return -x.advantages * weight, clip_fractions(below, above) | dual_clip_fraction
