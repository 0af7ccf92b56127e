"""The padded tensors of an optimizer step, or of an evaluation.

One alignment rule holds for every tensor: **column `t` of every field describes the token `input_ids[:, t]`**. `logprobs[:, t]` is
the log-probability *of* token `t` given the tokens before it, so column 0 never carries a loss.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Batch = TypeVar("Batch", bound="_TensorBatch")


@dataclass(frozen=True)
class _TensorBatch:
    """Shared behaviour of the batches: moving between devices and selecting rows."""

    def to(self: Batch, device: torch.device | str, **kwargs: Any) -> Batch:
        """Return the batch with every tensor on `device`."""
        return self._map(lambda x: x.to(device, **kwargs))

    def _map(self: Batch, function: Callable[[Tensor], Tensor]) -> Batch:
        changed = {f.name: function(v) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        return replace(self, **changed)

    def rows(self: Batch, index: Int[Tensor, " N"]) -> Batch:
        """Return the rows in `index`, trimmed to the longest of them."""
        chosen = self._map(lambda x: x[index])
        length = int(chosen.attention_mask.sum(dim=1).max())  # type: ignore[attr-defined]
        return chosen._map(lambda x: x[:, :length] if x.dim() == 2 else x)


@dataclass(frozen=True)
class StepTotals:
    """What an optimizer step holds over all ranks and micro-batches: the books that the training side is checked against."""

    tokens: int = 0
    """Tokens in the loss."""
    sequences: int = 0
    """Rows with any such token."""
    denominator: float = 0.0
    """What the reduction divides by: tokens, sequences, or the stated constant."""
    weight: float = 0.0
    """Sum of all loss weights."""


@dataclass(frozen=True)
class SFTBatch(_TensorBatch):
    """Right-padded supervised sequences."""

    input_ids: Int[Tensor, "B T"]
    attention_mask: Bool[Tensor, "B T"]
    loss_mask: Bool[Tensor, "B T"]
    """True on the response tokens, the end-of-sequence token included."""
    loss_weights: Float[Tensor, "B T"]
    """The reduction as a tensor: summed over all ranks and micro-batches of one optimizer step it is 1."""
    totals: StepTotals = StepTotals()
    """What the whole optimizer step adds up to."""


@dataclass(frozen=True)
class RolloutBatch(_TensorBatch):
    """Right-padded rollouts: prompt, completion, padding."""

    input_ids: Int[Tensor, "B T"]
    attention_mask: Bool[Tensor, "B T"]
    loss_mask: Bool[Tensor, "B T"]
    """True on the completion tokens that take part in the loss."""
    advantages: Float[Tensor, "B T"]
    """Advantage of each token; 0 where `loss_mask` is False."""
    rewards: Float[Tensor, " B"]
    is_correct: Bool[Tensor, " B"]
    rollout_logprobs: Float[Tensor, "B T"]
    """The engine's log-probs of the distribution that was sampled from; 0 where `loss_mask` is False."""
    loss_weights: Float[Tensor, "B T"]
    """The reduction as a tensor, stamped once per optimizer step over all ranks and micro-batches."""
    positive_weights: Float[Tensor, "B T"]
    """Token-mean weights over the correct completions of the optimizer step (Klear's loss on positives)."""
    totals: StepTotals = StepTotals()
    """What the whole optimizer step adds up to; without tokens when its share of the iteration is empty."""
    temperature: float = 1.0
    """Sampling temperature: log-probs are those of `logits / temperature`, in the engine and in the policy."""
    is_gap_defined: bool = True
    """False where sampling was truncated (top-p, top-k): the engine's log-probs are then those of the tokens that were kept, the policy's
    those of all, and their difference is the mass that was left out, not a gap."""
    old_logprobs: Float[Tensor, "B T"] | None = None
    """The policy's own log-probs before this iteration's first update."""
    ref_logprobs: Float[Tensor, "B T"] | None = None
    """The reference policy's log-probs, when a KL term needs them."""
    rollout_weights: Float[Tensor, "B T"] | None = None
    """Importance weights without gradient that correct for the gap between engine and policy; None: no correction."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """Statistics of the whole iteration (reward, accuracy, lengths, filters), equal on every rank and micro-batch."""


@dataclass(frozen=True)
class EvalBatch(_TensorBatch):
    """Judged completions of held-out problems: `P` problems, `K` samples each."""

    correct: Bool[Tensor, "P K"]
    judged: Bool[Tensor, "P K"]
    """False where the verifier failed; such a sample counts neither as right nor as wrong."""
    truncated: Bool[Tensor, "P K"]
    lengths: Int[Tensor, "P K"]
    """Completion lengths in tokens."""
    greedy_correct: Bool[Tensor, " P"] | None
    """Whether the greedy completion is right; None when greedy decoding was not asked for."""
    is_real: Bool[Tensor, " P"]
    """False for rows that only even out the ranks."""
