"""Advantage estimators: the rewards of one group in, one advantage per member out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


class AdvantageEstimator(ABC):
    """Compares the members of one group.

    It is given the members that can be judged (after filters, without reward errors), so groups may be of any size. A group
    of one has no one to compare with, and equal rewards tell nothing apart: both give exactly 0.
    """

    def __call__(self, rewards: Float[Tensor, " G"]) -> Float[Tensor, " G"]:
        """Return the advantage of each member of the group.

        Raises:
            ValueError: a reward is NaN or infinite.
        """
        if not torch.isfinite(rewards).all():
            raise ValueError(
                f"rewards must be finite, got {rewards.tolist()}; a verifier that cannot judge returns an error Verdict"
            )
        # Rounding makes the mean of equal numbers differ from them, and the division by a tiny deviation would blow that up.
        if len(rewards) < 2 or bool((rewards == rewards[0]).all()):
            return torch.zeros_like(rewards)
        return self.compare(rewards)

    @abstractmethod
    def compare(self, rewards: Float[Tensor, " G"]) -> Float[Tensor, " G"]:
        """Return the advantages of at least two members whose rewards are not all equal."""


@dataclass(frozen=True)
class GroupRelative(AdvantageEstimator):
    """`(R - mean) / (std + epsilon)` over the group.

    Source: GRPO (arXiv 2402.03300, section 4.1.2). With a group of one, released implementations take `R / (1 + epsilon)`;
    here it is 0.
    """

    normalize_by_std: bool = True
    """Divide by the standard deviation of the group."""
    unbiased: bool = True
    """True: standard deviation with `G - 1`, as implementations have it. False: with `G`, as Klear-Reasoner's Eq. 4 has it."""
    epsilon: float = 1e-6
    """Added to the standard deviation."""

    def __post_init__(self) -> None:
        """Reject an epsilon that could make the denominator zero or negative."""
        if not self.epsilon >= 0:
            raise ValueError(f"GroupRelative.epsilon must be 0 or positive, got {self.epsilon}")

    def compare(self, rewards: Float[Tensor, " G"]) -> Float[Tensor, " G"]:
        """Return the (normalized) deviations from the mean of the group."""
        deviations = rewards - rewards.mean()
        if not self.normalize_by_std:
            return deviations
        return deviations / (rewards.std(correction=int(self.unbiased)) + self.epsilon)


@dataclass(frozen=True)
class DrGRPO(AdvantageEstimator):
    """`R - mean` over the group, without the division that favours questions on which all members almost agree.

    Source: Dr. GRPO (arXiv 2503.20783), meant together with the `constant` reduction.
    """

    def compare(self, rewards: Float[Tensor, " G"]) -> Float[Tensor, " G"]:
        """Return the deviations from the mean of the group."""
        return rewards - rewards.mean()


@dataclass(frozen=True)
class LeaveOneOut(AdvantageEstimator):
    """Each reward minus the mean of the *other* members, `G / (G - 1) (R - mean)`: an unbiased baseline.

    Source: RLOO (arXiv 2402.14740).
    """

    def compare(self, rewards: Float[Tensor, " G"]) -> Float[Tensor, " G"]:
        """Return the deviations from the mean of the others."""
        size = len(rewards)
        return size / (size - 1) * (rewards - rewards.mean())
