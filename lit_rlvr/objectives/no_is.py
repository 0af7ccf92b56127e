"""GRPO without importance sampling: the ablation that weighs every token 1."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.clipping import check_clip_range, clip_fractions, finite_logprobs, out_of_range


@dataclass(frozen=True)
class NoImportanceSampling(PolicyObjective):
    """REINFORCE loss `-A logprob`, by default on the tokens that GRPO would not clip.

    Gradient `-A w` with `w = 1`, and `w = 0` for the tokens out of range when `keep_clip_mask`.

    Source: the ablation of ASPO (arXiv 2510.06062, section 4.2), which fixes all importance weights to 1 and does not say
    whether the clip mask stays; both readings are offered. Without the mask this is REINFORCE.
    """

    keep_clip_mask: bool = True
    """True: tokens whose true ratio is out of range have no gradient. False: every token has gradient weight 1."""
    clip_low: float = 0.2
    """Width of the range below 1, used with `keep_clip_mask`."""
    clip_high: float = 0.2
    """Width of the range above 1, used with `keep_clip_mask`."""

    def __post_init__(self) -> None:
        """Reject bounds that leave no range around 1."""
        check_clip_range(self, self.clip_low, self.clip_high)

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss, and the clip fractions when tokens are clipped."""
        logprobs = finite_logprobs(x)
        if not self.keep_clip_mask:
            return -x.advantages * logprobs, {}
        below, above = out_of_range(x.ratio, x.advantages, 1 - self.clip_low, 1 + self.clip_high)
        return -x.advantages * torch.where(below | above, logprobs.detach(), logprobs), clip_fractions(below, above)
