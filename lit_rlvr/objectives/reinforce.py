"""REINFORCE: the plain policy gradient, with or without the importance ratio, never clipped."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.clipping import finite_logprobs


@dataclass(frozen=True)
class REINFORCE(PolicyObjective):
    """Loss `-A logprob`, or `-A r` with importance weights: no token is clipped.

    Gradient `-A w` with `w = 1`, or `w = r` with `importance_weight`. On policy both are the same, and unbiased with the
    reduction `seq-mean-token-sum`, which adds up the log-prob of a completion. With the advantages of
    `lit_rlvr.advantages.LeaveOneOut` this is RLOO.

    Sources: REINFORCE (Williams, Machine Learning 8, 1992), RLOO (arXiv 2402.14740).
    """

    importance_weight: bool = False
    """True: weigh each token by its ratio, which undoes that it was sampled by the old policy, token by token and unbounded."""

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss; there are no statistics."""
        return -x.advantages * (x.ratio if self.importance_weight else finite_logprobs(x)), {}
