"""Correction of the gap between the engine that sampled the tokens and the policy that is trained on them."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lit_rlvr.ops import MAX_LOG_RATIO, row_mean
from lit_rlvr.types import RolloutBatch


@dataclass(frozen=True)
class TruncatedImportanceSampling:
    """Importance weights from the engine's distribution to the policy's, bounded, constant through an iteration.

    The engine computes the probabilities it samples from with kernels and a precision of its own, so its tokens come from a policy
    that is not quite `pi_old`, the one the trainer computes. A token's weight multiplies its policy loss:

    - `token`: `r_t = pi_old(y_t) / pi_engine(y_t) = exp(old_logprobs - rollout_logprobs)`
    - `sequence`: `r = prod_t r_t` over the tokens of the response in the loss, for each of them
    - `geometric`: `r = (prod_t r_t)^(1 / n)`, the geometric mean over those `n` tokens

    - `truncate`: `w = max(min(r, cap), floor)`
    - `mask`: `w = r` where `floor <= r <= cap`, else 0

    Masking does not change what the loss is divided by: a masked token counts in a mean, with a loss of zero, as in the formulas of
    the sources. (Where rejected tokens leave the mask instead, those that stay weigh more.)

    Bias and variance: without bounds the product is unbiased, with a variance that grows exponentially in the length, while token
    ratios ignore how the gap changes which prefixes occur, a bias that grows with the length at little variance; the geometric
    mean varies least and is biased most. Truncating pulls large weights down, masking leaves their tokens out: both trade bias for
    variance.

    Sources: `token`, `truncate`: Yao et al., "Your efficient RL framework secretly brings you off-policy RL training" (2025).
    `token`, `mask` with both bounds: IcePop, in the report on Ring-1T (arXiv 2510.18855). `sequence`, both modes: Liu et al.,
    "When speed kills stability: demystifying RL collapse from the training-inference mismatch" (2025). `geometric` as a weight is
    our choice; others use it to reject responses.
    """

    level: Literal["token", "sequence", "geometric"] = "token"
    """What one ratio compares: a token, all tokens of a response (their product), or their geometric mean."""
    mode: Literal["truncate", "mask"] = "truncate"
    """What happens to a ratio out of bounds: it is set to the bound, or to 0."""
    cap: float = 2.0
    """Largest weight, at least 1. A geometric mean stays near 1 and needs a bound far closer to it, such as 1.001."""
    floor: float | None = None
    """Smallest weight, at most 1: truncating raises ratios below it, masking zeroes them; null: no lower bound."""

    def __post_init__(self) -> None:
        """Reject bounds that would change the weight of a token on which engine and policy agree."""
        if not 1 <= self.cap <= math.exp(MAX_LOG_RATIO):
            raise ValueError(
                f"data.rollout_correction.cap must be between 1 and e^{MAX_LOG_RATIO:g}, got {self.cap}: a ratio of 1 means that engine "
                "and policy agree, and must stay as it is"
            )
        if self.floor is not None and not 0 < self.floor <= 1:
            raise ValueError(
                f"data.rollout_correction.floor must be above 0 and at most 1, got {self.floor}: a ratio of 1 means that engine and "
                "policy agree, and must stay as it is; null is no lower bound"
            )

    def weights(
        self, old_logprobs: Float[Tensor, "B T"], rollout_logprobs: Float[Tensor, "B T"], loss_mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """Return the weight of each token, without gradient: exactly 1 where both log-probs agree, 0 outside `loss_mask`.

        A token with a log-ratio that is not finite (the engine or the policy reports -inf or NaN) has weight 0 in both modes,
        whatever the floor: nothing is known of it. For the other levels that goes for its whole response.

        >>> old, engine = torch.tensor([[-1.0, -1.0, -1.0]]), torch.tensor([[-1.0, -3.0, -0.5]])
        >>> TruncatedImportanceSampling().weights(old, engine, torch.ones(1, 3, dtype=torch.bool))
        tensor([[1.0000, 2.0000, 0.6065]])
        """
        return self._bounded(self._ratio(old_logprobs, rollout_logprobs, loss_mask), loss_mask)

    def correct(self, batch: RolloutBatch) -> RolloutBatch:
        """Return a scored batch with `rollout_weights`, and with their statistics over the tokens of the loss in `stats`.

        - `rollout/correction_mean`: mean weight
        - `rollout/correction_clipped`: share of tokens that a bound has changed, those without a finite ratio included
        - `rollout/correction_ess`: effective sample size as a share of the `N` tokens, `(sum w)^2 / (N sum w^2)`, 0 if all are 0

        Raises:
            ValueError: the batch has no `old_logprobs`.
        """
        if batch.old_logprobs is None:
            raise ValueError("the batch has no old_logprobs: the policy must score it before its rollouts can be corrected")
        ratio = self._ratio(batch.old_logprobs, batch.rollout_logprobs, batch.loss_mask)
        weights = self._bounded(ratio, batch.loss_mask)
        return replace(batch, rollout_weights=weights, stats={**batch.stats, **_statistics(weights, ratio, batch.loss_mask)})

    @torch.no_grad()
    def _ratio(
        self, old_logprobs: Float[Tensor, "B T"], rollout_logprobs: Float[Tensor, "B T"], loss_mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """Return the ratio before bounds, its log (for sequences, their sum) limited to ±20: NaN where it is not known."""
        log_ratio = torch.where(loss_mask, old_logprobs - rollout_logprobs, 0.0)
        if self.level == "sequence":
            log_ratio = log_ratio.sum(dim=1, keepdim=True)
        elif self.level == "geometric":
            log_ratio = row_mean(log_ratio, loss_mask)
        limited = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        return torch.where(log_ratio.isfinite(), limited.exp(), torch.nan).expand(loss_mask.shape)

    def _bounded(self, ratio: Float[Tensor, "B T"], loss_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        if self.mode == "truncate":
            bounded = ratio.clamp(self.floor, self.cap)
        else:
            bounded = torch.where((ratio >= (self.floor or 0.0)) & (ratio <= self.cap), ratio, 0.0)
        return torch.where(loss_mask & ratio.isfinite(), bounded, 0.0)


def _statistics(weights: Float[Tensor, "B T"], ratio: Float[Tensor, "B T"], loss_mask: Bool[Tensor, "B T"]) -> dict[str, float]:
    chosen, unbounded = weights[loss_mask].double(), ratio[loss_mask].double()
    tokens, squares = max(len(chosen), 1), float(chosen.square().sum())
    return {
        "rollout/correction_mean": float(chosen.sum()) / tokens,
        "rollout/correction_clipped": int((chosen != unbounded).sum()) / tokens,
        "rollout/correction_ess": float(chosen.sum()) ** 2 / (tokens * squares) if squares else 0.0,
    }
