"""Archer: clipped surrogate with a wide range for high-entropy tokens and a narrow one for the others."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.clipping import check_clip_range, check_dual_clip, clip_fractions, hard_dual_clip, out_of_range
from lit_rlvr.objectives.entropy_classes import HighEntropyRange, ratio_bounds


@dataclass(frozen=True)
class Archer(PolicyObjective):
    """GRPO whose clip range depends on the entropy class of the token: reasoning may move, knowledge stays.

    Gradient `-A w` with `w` of `GRPO`, for the range of the token's class.

    The paper's other constraint, a KL penalty on the low-entropy tokens only, is a term of the module:
    `lit_rlvr.modules.KLPenalty` with `high_entropy_coefficient`. (The released code divides the penalty of each class by that
    class's own number of tokens, the paper by the number of all tokens: `normalize_by_class`.)

    Source: Archer (arXiv 2507.15778, Eq. 2-5). The released code adds a hard dual clip, `w = 0` where `A < 0, r > 10`, which
    the paper does not have: set `dual_clip=10`.
    """

    clip_low: float = 0.2
    """Width of the range below 1 of low-entropy tokens."""
    clip_high: float = 0.2
    """Width of the range above 1 of low-entropy tokens."""
    high_entropy: HighEntropyRange | None = HighEntropyRange(clip_low=0.5, clip_high=0.5, quantile=0.8)  # noqa: RUF009 - frozen
    """Range of the tokens with the highest entropies of their response; null: the one above for all, which is GRPO."""
    dual_clip: float | None = None
    """Ratio above which a token with a negative advantage has no gradient; null: the paper's form, 10: the released code's."""

    def __post_init__(self) -> None:
        """Reject bounds that leave no range around 1."""
        check_clip_range(self, self.clip_low, self.clip_high)
        check_dual_clip(self, self.dual_clip)

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss and the clip fractions, also by entropy class."""
        lower, upper, is_high_entropy = ratio_bounds(x, 1 - self.clip_low, 1 + self.clip_high, self.high_entropy)
        below, above = out_of_range(x.ratio, x.advantages, lower, upper)
        clipped = torch.where(below, lower, torch.where(above, upper, x.ratio))
        weight, dual_clip_fraction = hard_dual_clip(x, clipped, self.dual_clip)
        return -x.advantages * weight, clip_fractions(below, above, is_high_entropy) | dual_clip_fraction
