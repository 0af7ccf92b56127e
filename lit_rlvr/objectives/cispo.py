"""CISPO: REINFORCE with a clipped importance weight that carries no gradient."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.clipping import check_clip_range, clip_fractions, finite_logprobs


@dataclass(frozen=True)
class CISPO(PolicyObjective):
    """Loss `-sg(clip(r, 1 - clip_low, 1 + clip_high)) A logprob`: every token keeps a gradient.

    Gradient `-A w` with `w = clip(r, 1 - clip_low, 1 + clip_high)`.

    Sources: MiniMax-M1 (arXiv 2506.13585); the two-sided defaults are the comparison of Klear-Reasoner (arXiv
    2508.07629, Eq. 15-16). The clip fractions count both signs of the advantage, because both are clipped.
    """

    clip_low: float | None = 0.2
    """Width of the range below 1: the weight is at least `1 - clip_low`; null: no lower bound, the weight is only capped."""
    clip_high: float = 0.28
    """Width of the range above 1: the weight is at most `1 + clip_high`. A cap of 5, as others state it, is `clip_high=4`."""

    def __post_init__(self) -> None:
        """Reject bounds that leave no range around 1."""
        check_clip_range(self, self.clip_low, self.clip_high)

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss and the clip fractions."""
        ratio = x.ratio.detach()
        lower_bound = 0.0 if self.clip_low is None else 1 - self.clip_low
        weight = ratio.clamp(lower_bound, 1 + self.clip_high)
        return -weight * x.advantages * finite_logprobs(x), clip_fractions(ratio < weight, ratio > weight)
