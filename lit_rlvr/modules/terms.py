"""Terms that are added to the policy objective: KL to a reference policy, entropy bonus, loss on positives.

Each returns a value per token that is weighted and summed like the objective's, so that layout cannot change it either.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from lit_rlvr.modules.policy import PolicyScores
from lit_rlvr.ops import kl_k1, kl_k2, kl_k3
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

    Args:
        coefficient: weight of the penalty in the loss.
        estimator: k1 (log-ratio; its gradient vanishes in expectation), k2 (half its square) or k3 (unbiased, never negative).
    """

    needs_reference = True
    name = "kl_penalty"

    def __init__(self, coefficient: float = 0.001, estimator: Literal["k1", "k2", "k3"] = "k3") -> None:
        self.coefficient = coefficient
        self.estimator = KL_ESTIMATORS[estimator]

    def __call__(self, scores: PolicyScores, batch: RolloutBatch) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
        """Return the estimated KL of each token, with the weights of the policy loss."""
        assert batch.ref_logprobs is not None
        return self.estimator(scores.logprobs, batch.ref_logprobs), batch.loss_weights


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
