"""From rows to the padded tensors of an optimizer step."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lit_rlvr.batching import pad_right
from lit_rlvr.ops import Reduction, loss_weights, step_totals
from lit_rlvr.types import Rollout, RolloutBatch, SFTBatch


def collate_rollouts(rollouts: Sequence[Rollout], temperature: float) -> RolloutBatch:
    """Stack rollouts into a batch on the CPU; the loss weights are still 0."""
    prompts = [r.prompt.token_ids for r in rollouts]
    completions = [r.completion.token_ids for r in rollouts]
    input_ids, attention_mask, loss_mask = _sequences(prompts, completions)
    advantages = torch.tensor([r.advantage for r in rollouts], dtype=torch.float32)[:, None] * loss_mask
    logprobs = [[0.0] * len(p) + list(r.completion.logprobs) for p, r in zip(prompts, rollouts, strict=True)]
    nothing = torch.zeros_like(advantages)
    return RolloutBatch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        loss_mask=loss_mask,
        advantages=advantages,
        rewards=torch.tensor([r.reward or 0.0 for r in rollouts], dtype=torch.float32),
        is_correct=torch.tensor([r.is_correct for r in rollouts]),
        rollout_logprobs=pad_right(logprobs, torch.float32),
        loss_weights=nothing,
        positive_weights=nothing,
        temperature=temperature,
    )


def stamp_weights(step: RolloutBatch, reduction: Reduction, divisor: float | None = None) -> RolloutBatch:
    """Return the rows of one optimizer step (over all ranks and micro-batches) with their loss weights, as precise as advantages."""
    dtype = step.advantages.dtype
    return replace(
        step,
        loss_weights=loss_weights(step.loss_mask, reduction, divisor, dtype),
        positive_weights=loss_weights(step.loss_mask & step.is_correct[:, None], "token-mean", dtype=dtype),
        totals=step_totals(step.loss_mask, reduction, divisor),
    )


def collate_sft(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> SFTBatch:
    """Stack supervised rows; the loss is a token mean over all responses given here."""
    input_ids, attention_mask, loss_mask = _sequences(prompts, responses)
    totals = step_totals(loss_mask, "token-mean")
    return SFTBatch(input_ids, attention_mask, loss_mask, loss_weights(loss_mask, "token-mean"), totals)


def _sequences(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return `input_ids`, `attention_mask` and `loss_mask`, right-padded."""
    pairs = list(zip(prompts, responses, strict=True))
    input_ids = pad_right([[*p, *r] for p, r in pairs], torch.long)
    attention_mask = pad_right([[1] * (len(p) + len(r)) for p, r in pairs], torch.bool)
    loss_mask = pad_right([[0] * len(p) + [1] * len(r) for p, r in pairs], torch.bool)
    return input_ids, attention_mask, loss_mask
