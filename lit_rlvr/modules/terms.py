"""Terms that are added to the policy objective: KL to a reference policy, entropy bonus, loss on positives.

Each returns a value per token that is weighted and summed like the objective's, so that layout cannot change it either.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.modules.policy import PolicyScores
from lit_rlvr.ops import high_entropy_tokens, kl_k1, kl_k2, kl_k3
from lit_rlvr.types import RolloutBatch

KL_ESTIMATORS = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


class LossTerm(ABC):
    """An addition to the loss: `coefficient * sum(value * weights)`."""

    needs_reference: ClassVar[bool] = False
    """True when the term reads `ref_logprobs`."""
    needs_entropy_gradient: ClassVar[bool] = False
    """True when the term differentiates the entropy."""

    coefficient: float

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the term in the logs."""

    @abstractmethod
    def __call__(self, scores: PolicyScores, batch: RolloutBatch) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
        """Return the value of each token and its weight, both `[B, T]`."""


class KLPenalty(LossTerm):
    """KL divergence to the initial policy, differentiated through the estimator (ASPO: k3, 0.001).

    With `high_entropy_coefficient` the tokens whose entropy lies above the quantile of their response have a coefficient of
    their own: Archer's dual-token constraint (arXiv 2507.15778, Eq. 3-5) is 0.001 and 0. What is logged is the divergence with
    the high-entropy tokens weighted by the quotient of the two.

    Args:
        coefficient: weight of the penalty in the loss.
        estimator: k1 (log-ratio; its gradient vanishes in expectation), k2 (half its square) or k3 (unbiased, never negative).
        high_entropy_coefficient: weight on the high-entropy tokens; null: the same as on the others.
        entropy_quantile: where the high-entropy tokens of a response begin.
        normalize_by_class: divide each class by its own share of the tokens, as Archer's released code does; its paper divides
            both by all tokens.

    Raises:
        ValueError: coefficients that cannot be told apart from no penalty, or a quantile outside (0, 1).
    """

    needs_reference = True
    name = "kl_penalty"

    def __init__(
        self,
        coefficient: float = 0.001,
        estimator: Literal["k1", "k2", "k3"] = "k3",
        high_entropy_coefficient: float | None = None,
        entropy_quantile: float = 0.8,
        normalize_by_class: bool = False,
    ) -> None:
        if high_entropy_coefficient is not None and not coefficient > 0:
            raise ValueError(f"KLPenalty.coefficient must be positive to tell two classes of tokens apart, got {coefficient}")
        if normalize_by_class and high_entropy_coefficient is None:
            raise ValueError("KLPenalty.normalize_by_class does nothing without high_entropy_coefficient: set both or neither")
        if not 0 < entropy_quantile < 1:
            raise ValueError(f"KLPenalty.entropy_quantile must lie between 0 and 1, got {entropy_quantile}")
        self.coefficient = coefficient
        self.estimator = KL_ESTIMATORS[estimator]
        self.high_entropy_coefficient = high_entropy_coefficient
        self.entropy_quantile = entropy_quantile
        self.normalize_by_class = normalize_by_class

    def __call__(self, scores: PolicyScores, batch: RolloutBatch) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
        """Return the estimated KL of each token, with the weights of the policy loss."""
        assert batch.ref_logprobs is not None
        divergence = self.estimator(scores.logprobs, batch.ref_logprobs)
        if self.high_entropy_coefficient is None:
            return divergence, batch.loss_weights
        on_low, on_high = 1.0, self.high_entropy_coefficient / self.coefficient
        if self.normalize_by_class:
            on_low, on_high = on_low / self.entropy_quantile, on_high / (1 - self.entropy_quantile)
        is_high = high_entropy_tokens(scores.entropy.detach(), batch.loss_mask, self.entropy_quantile)
        return divergence, batch.loss_weights * torch.where(is_high, on_high, on_low)


class EntropyBonus(LossTerm):
    """Rewards entropy: adds `-coefficient * H` (both papers use 0).

    Args:
        coefficient: weight of the bonus in the loss.
    """

    needs_entropy_gradient = True
    name = "entropy_bonus"

    def __init__(self, coefficient: float) -> None:
        self.coefficient = coefficient

    def __call__(self, scores: PolicyScores, batch: RolloutBatch) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
        """Return the negative entropy of each token, with the weights of the policy loss."""
        return -scores.entropy, batch.loss_weights


class PositiveNLL(LossTerm):
    """Negative log-likelihood of the correct completions, a token mean over them (Klear-Reasoner, Eq. 13-14).

    Args:
        coefficient: the paper's alpha, 0.1 there.
    """

    name = "positive_nll"

    def __init__(self, coefficient: float = 0.1) -> None:
        self.coefficient = coefficient

    def __call__(self, scores: PolicyScores, batch: RolloutBatch) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
        """Return the negative log-prob of each token, weighted over the positives of the optimizer step."""
        return -scores.logprobs, batch.positive_weights
