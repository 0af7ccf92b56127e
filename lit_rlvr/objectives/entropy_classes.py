"""Clip ranges by entropy class: the tokens at which a response could have gone another way get a range of their own."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs
from lit_rlvr.objectives.clipping import Bound, check_clip_range
from lit_rlvr.ops import high_entropy_tokens


@dataclass(frozen=True)
class HighEntropyRange:
    """The clip range of the tokens whose entropy lies above a quantile of their own response.

    The entropy is that of the policy being trained, at the forward pass of the loss, as in the released code of Archer (arXiv
    2507.15778); see `lit_rlvr.ops.high_entropy_tokens` for ties and interpolation.
    """

    clip_low: float
    """Width of the range below 1 of high-entropy tokens."""
    clip_high: float
    """Width of the range above 1 of high-entropy tokens."""
    quantile: float = 0.8
    """Of the entropies of a response; the tokens above it are the high-entropy ones: with 0.8, about one in five."""

    def __post_init__(self) -> None:
        """Reject bounds that leave no range around 1, and a quantile that no token can be above."""
        check_clip_range(self, self.clip_low, self.clip_high)
        if not 0 <= self.quantile < 1:
            raise ValueError(f"HighEntropyRange.quantile must be in [0, 1), got {self.quantile}: no token lies above 1")


def ratio_bounds(
    x: ObjectiveInputs, lower: float, upper: float, high_entropy: HighEntropyRange | None
) -> tuple[Bound, Bound, Bool[Tensor, "B T"] | None]:
    """Return the lower and upper bound of the ratio of each token, and the high-entropy tokens.

    These have the bounds of `high_entropy`, the others `lower` and `upper`. Without `high_entropy` all have, and there is no class.

    Raises:
        ValueError: `high_entropy` is given, but not the entropy of the tokens.
    """
    if high_entropy is None:
        return lower, upper, None
    if x.entropy is None:
        raise ValueError("a clip range by entropy class needs ObjectiveInputs.entropy, got None: give the entropy per token")
    is_high_entropy = high_entropy_tokens(x.entropy, x.loss_mask, high_entropy.quantile)
    return (
        torch.full_like(x.old_logprobs, lower).masked_fill(is_high_entropy, 1 - high_entropy.clip_low),
        torch.full_like(x.old_logprobs, upper).masked_fill(is_high_entropy, 1 + high_entropy.clip_high),
        is_high_entropy,
    )
