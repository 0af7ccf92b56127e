"""The interface of a policy objective: per-token statistics in, per-token loss out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lit_rlvr.ops import limited


@dataclass(frozen=True)
class ObjectiveInputs:
    """What an objective sees. Column `t` of every tensor describes the token `input_ids[:, t]`."""

    logprobs: Float[Tensor, "B T"]
    """Log-probs of the policy being trained: the only tensor with a gradient."""
    old_logprobs: Float[Tensor, "B T"]
    """Log-probs of the same tokens under the policy before this iteration's updates."""
    advantages: Float[Tensor, "B T"]
    """Advantage of each token."""
    loss_mask: Bool[Tensor, "B T"]
    """True on the tokens that take part in the loss. For statistics within a response; an objective never masks its loss."""
    entropy: Float[Tensor, "B T"] | None = None
    """Entropy of the policy's distribution at each token, in nats, without gradient."""

    @cached_property
    def log_ratio(self) -> Float[Tensor, "B T"]:
        """Log of the importance ratio, `logprobs - old_logprobs`, limited to ±20.

        The limit acts on the value only: the derivative with respect to `logprobs` stays 1, so that no objective loses a token's
        gradient by accident. Where the log-ratio is not finite the derivative is 0.
        """
        return limited(self.logprobs - self.old_logprobs)

    @cached_property
    def ratio(self) -> Float[Tensor, "B T"]:
        """Importance ratio `exp(log_ratio)`; its derivative with respect to `logprobs` is itself, 0 where not finite."""
        return torch.exp(self.log_ratio)


class PolicyObjective(ABC):
    """Maps per-token statistics to a per-token loss to minimize.

    It never masks, reduces, logs or communicates: the loss of an optimizer step is `(token_loss * loss_weights).sum()`, and the
    weights come from outside. Write one as a frozen dataclass; its fields are its configuration.
    """

    @abstractmethod
    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss `[B, T]` and named per-token statistics `[B, T]` (averaged over the mask by the module).

        A statistic may hold NaN where it does not apply (a clip fraction of positive tokens, on negative ones): such tokens
        are left out of its mean.
        """
