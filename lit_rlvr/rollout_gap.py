"""How far the engine that sampled the tokens is from the policy that will be trained on them, and how far it may be."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lit_rlvr.ops import MAX_LOG_RATIO
from lit_rlvr.types import RolloutBatch

CAUSES = (
    "Likely causes, the usual ones first: the engine holds other weights than the policy (a sync that failed; where rollouts are "
    "collected ahead, or replayed for another objective, that is the point), it sampled at another temperature, its log-probs are those "
    "of softmax(logits) and not of the distribution that was sampled from, or it computes in a lower precision. `lit-rlvr doctor` with "
    "this run's configuration tells them apart. A gap that is meant or due to precision can be lived with: data.rollout_correction "
    "weighs for it, and data.gap_bounds says how large it may be (null: any)."
)
NOTHING: Mapping[str, float] = MappingProxyType({})


class RolloutGapError(RuntimeError):
    """The engine's log-probs are too far from the policy's for its samples to be trained on."""


@dataclass(frozen=True)
class GapBounds:
    """Bounds of the gap between engine and policy, measured once per iteration before anything is trained on it.

    With `d = old_logprobs - rollout_logprobs` of one token, the gap is the mean of `e^|d|` over the tokens of the loss: 1 where the
    policy gives every token the probability that the engine says it was sampled with. Two precisions of the same weights stay
    below 1.02 or so; weights of the wrong step, or another temperature, do not.

    Source: NeMo-RL logs the same mean as its multiplicative error of token probabilities and calls 1.05 the limit of what is sound.
    """

    warn: float | None = 1.05
    """Above this gap a warning is given, when it is crossed and not again while the gap stays above it; null: never."""
    stop: float | None = 2.0
    """Above this gap the run stops before it trains, and so it does for any token whose `d` is not finite; null: never."""

    def __post_init__(self) -> None:
        """Reject bounds that agreement itself would break, and a warning that could not come before the stop."""
        for name, bound in (("warn", self.warn), ("stop", self.stop)):
            if bound is not None and not bound >= 1:
                raise ValueError(
                    f"data.gap_bounds.{name} must be at least 1, the gap of perfect agreement, got {bound}; null turns it off"
                )
        if self.warn is not None and self.stop is not None and self.warn > self.stop:
            raise ValueError(f"data.gap_bounds.warn={self.warn} is above stop={self.stop}: the run would stop before it warns")

    def check(self, batch: RolloutBatch, before: Mapping[str, float] = NOTHING) -> RolloutBatch:
        """Return a scored batch with its gap in `stats`, after holding it against the bounds.

        - `rollout/gap_exp`: mean of `e^|d|`, what the bounds are for
        - `rollout/gap_mean`, `rollout/gap_max`: mean and maximum of `|d|`, in nats
        - `rollout/gap_k3`: mean of `e^d - d - 1`, which estimates KL(engine, policy), in nats
        - `rollout/gap_nonfinite`: tokens whose `d` is not finite

        As in `TrainingDynamics`, `d` is limited to ±20 and a token where it is NaN is left out of the means. (Its
        `train/rollout_gap*` are of the same tokens, each as often as it was trained on.)

        Nothing is measured, and `stats` has none of the names, where `is_gap_defined` is False or no token is in the loss.

        Args:
            batch: all rollouts of an iteration.
            before: `stats` of the iteration before; a gap that was above `warn` there is not warned of again.

        Raises:
            ValueError: the batch has no `old_logprobs`.
            RolloutGapError: the gap is above `stop`.
        """
        if batch.old_logprobs is None:
            raise ValueError("the batch has no old_logprobs: the policy must score it before its gap can be measured")
        if not batch.is_gap_defined or not bool(batch.loss_mask.any()):
            return batch
        difference = (batch.old_logprobs.double() - batch.rollout_logprobs.double()).detach()
        stats = _statistics(difference[batch.loss_mask])
        if _exceeds(stats, self.stop):
            raise RolloutGapError(
                f"{_described(stats)}, above data.gap_bounds.stop={self.stop}. {_worst(batch, difference)} {CAUSES}"
            )
        if _exceeds(stats, self.warn) and not _exceeds(before, self.warn):
            message = f"{_described(stats)}, above data.gap_bounds.warn={self.warn}. {_worst(batch, difference)} {CAUSES}"
            warnings.warn(message, stacklevel=2)
        return replace(batch, stats={**batch.stats, **stats})


def _statistics(difference: Float[Tensor, " N"]) -> dict[str, float]:
    known = difference[~difference.isnan()].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    gap, count = known.abs(), max(len(known), 1)
    return {
        "rollout/gap_mean": float(gap.sum()) / count,
        "rollout/gap_max": float(gap.max()) if len(gap) else 0.0,
        "rollout/gap_k3": float((torch.expm1(known) - known).sum()) / count,
        "rollout/gap_exp": float(gap.exp().sum()) / count,
        "rollout/gap_nonfinite": float((~difference.isfinite()).sum()),
    }


def _exceeds(stats: Mapping[str, float], bound: float | None) -> bool:
    """Return whether the gap is above the bound; a token without a finite difference puts it above every bound."""
    if bound is None or "rollout/gap_exp" not in stats:
        return False
    return stats["rollout/gap_exp"] > bound or stats["rollout/gap_nonfinite"] > 0


def _described(stats: Mapping[str, float]) -> str:
    nonfinite = int(stats["rollout/gap_nonfinite"])
    undefined = f", and {nonfinite} of them not finite" if nonfinite else ""
    return (
        "the engine's log-probs are not those of the policy: their differences d over the tokens of this iteration have a mean of e^|d| "
        f"of {stats['rollout/gap_exp']:.4g} (1 is agreement), a mean |d| of {stats['rollout/gap_mean']:.3g} and a maximum of "
        f"{stats['rollout/gap_max']:.3g} nats{undefined}"
    )


def _worst(batch: RolloutBatch, difference: Float[Tensor, "B T"]) -> str:
    """Say which token differs most: one without a finite difference, where there is any."""
    distance = torch.where(batch.loss_mask, difference.abs().nan_to_num(nan=torch.inf), -1.0)
    row, column = divmod(int(distance.argmax()), distance.shape[1])
    counted: Bool[Tensor, " T"] = batch.loss_mask[row]
    place = column - int(counted.int().argmax())
    assert batch.old_logprobs is not None
    return (
        f"The worst is token {int(batch.input_ids[row, column])} in row {row}, column {column} (token {place} of its completion): the "
        f"engine says {float(batch.rollout_logprobs[row, column]):.5g}, the policy {float(batch.old_logprobs[row, column]):.5g}."
    )
