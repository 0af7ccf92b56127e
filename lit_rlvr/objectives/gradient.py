"""What an objective does to each token: its gradient by autograd, for tables, figures, tests and the token lens."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective

RESPONSE_LENGTH = 10
"""Tokens of the responses that `gradient_weight` probes with: enough for a lowest and a highest entropy."""


def token_gradient(objective: PolicyObjective, x: ObjectiveInputs) -> Float[Tensor, "B T"]:
    """Return `d (sum of token losses) / d logprob` of each token.

    An objective whose token losses depend on other tokens of the response is covered: their share is in the sum.
    """
    logprobs = x.logprobs.detach().requires_grad_()
    with torch.enable_grad():
        token_loss, _ = objective(replace(x, logprobs=logprobs))
        (gradient,) = torch.autograd.grad(token_loss.sum(), logprobs, allow_unused=True, materialize_grads=True)
    return gradient


def gradient_weight(
    objective: PolicyObjective,
    ratio: Float[Tensor, " R"],
    advantage: float = 1.0,
    is_high_entropy: bool = False,
    old_logprob: float = -1.0,
) -> Float[Tensor, " R"]:
    """Return the weight `w` in `d loss / d logprob = -A w` at each importance ratio.

    Every ratio is probed in a response of its own whose tokens all have that ratio, so that a mean over the response is the
    ratio, too. Their entropies rise from the first token to the last: `is_high_entropy` says which of the two is read.

    Args:
        objective: any policy objective.
        ratio: importance ratios, positive.
        advantage: advantage of the responses; only its sign matters for most objectives.
        is_high_entropy: read the token with the highest entropy, not the one with the lowest.
        old_logprob: log-prob of the tokens under the old policy, in nats.

    Raises:
        ValueError: the advantage is 0.
    """
    if advantage == 0:
        raise ValueError("a gradient weight needs an advantage other than 0: there is no gradient to weigh")
    shape = (len(ratio), RESPONSE_LENGTH)
    old_logprobs = torch.full(shape, old_logprob, dtype=ratio.dtype)
    x = ObjectiveInputs(
        logprobs=old_logprobs + ratio.log()[:, None],
        old_logprobs=old_logprobs,
        advantages=torch.full(shape, advantage, dtype=ratio.dtype),
        loss_mask=torch.ones(shape, dtype=torch.bool),
        entropy=torch.arange(RESPONSE_LENGTH, dtype=ratio.dtype).expand(shape),
    )
    column = RESPONSE_LENGTH - 1 if is_high_entropy else 0
    return token_gradient(objective, x)[:, column] / -advantage
