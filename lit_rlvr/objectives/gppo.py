"""GPPO (Klear-Reasoner): clip-higher in the forward pass, but clipped tokens keep a bounded gradient."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.clipping import (
    check_clip_range,
    check_dual_clip,
    clip_fractions,
    hard_dual_clip,
    out_of_range,
    unit_ratio,
)


@dataclass(frozen=True)
class GPPO(PolicyObjective):
    """Gradient-preserving clipping: the bound limits a token's gradient instead of removing it.

    Gradient `-A w` with `w = r`, except `w = beta2 (1 + clip_high)` where `A > 0, r > 1 + clip_high`, and `w = beta1 (1 -
    clip_low)` where `A < 0, r < 1 - clip_low`. With `beta1 = beta2 = 1` the loss *value* is that of GRPO with the same
    bounds; only the gradient differs.

    Source: Klear-Reasoner (arXiv 2508.07629), Eq. 11-12, and Eq. 17-18 for the betas, which scale value and gradient. The
    defaults are the paper's form. The released code also has a dual clip, `w = 0` where `A < 0, r > 10`: set `dual_clip=10`;
    its first release had it at 1, which left every negative token with `r > 1` without gradient.
    """

    clip_low: float = 0.2
    """Width of the range below 1: the lower bound of the ratio is `1 - clip_low`."""
    clip_high: float = 0.28
    """Width of the range above 1: the upper bound of the ratio is `1 + clip_high`."""
    beta1: float = 1.0
    """Scales the tokens with a negative advantage below the range; CE-GPPO (arXiv 2509.20712) uses 0.5 and 0.75."""
    beta2: float = 1.0
    """Scales the tokens with a positive advantage above the range."""
    dual_clip: float | None = None
    """Ratio above which a token with a negative advantage has no gradient; null: the paper's form, 10: the released code's."""

    def __post_init__(self) -> None:
        """Reject bounds that leave no range around 1, and scales that would turn the gradient around."""
        check_clip_range(self, self.clip_low, self.clip_high)
        check_dual_clip(self, self.dual_clip)
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"GPPO.{name} must be 0 or positive, got {value}: it scales a bound, 1 keeps it as it is")

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss and the clip fractions (tokens at a bound, although they keep a gradient)."""
        lower, upper = 1 - self.clip_low, 1 + self.clip_high
        below, above = out_of_range(x.ratio, x.advantages, lower, upper)
        weight = torch.where(below, self.beta1 * lower * unit_ratio(x), x.ratio)
        weight = torch.where(above, self.beta2 * upper * unit_ratio(x), weight)
        weight, dual_clip_fraction = hard_dual_clip(x, weight, self.dual_clip)
        return -x.advantages * weight, clip_fractions(below, above) | dual_clip_fraction
