"""From rows to the padded tensors of an optimizer step."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lit_rlvr.batching import pad_right
from lit_rlvr.ops import Reduction, loss_weights, step_totals
from lit_rlvr.types import LogprobSemantics, Rollout, RolloutBatch, SFTBatch


def collate_rollouts(rollouts: Sequence[Rollout], temperature: float) -> RolloutBatch:
    """Stack rollouts into a batch on the CPU; the loss weights are still 0.

    Args:
        rollouts: judged completions, at least one, all sampled in one way.
        temperature: what the policy divides its logits by when it scores them.

    Raises:
        ValueError: the completions' log-probs are of different distributions, or of another one than was sampled from, or were
            sampled at another temperature; a completion has not exactly one log-prob per token.
    """
    semantics = _common_semantics(rollouts, temperature)
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
        is_gap_defined=not semantics.is_truncated,
    )


def _common_semantics(rollouts: Sequence[Rollout], temperature: float) -> LogprobSemantics:
    """Return which distribution the log-probs of all the rollouts are those of, if that is what the policy can be compared with."""
    first, semantics = rollouts[0].prompt.id, rollouts[0].completion.semantics
    for rollout in rollouts:
        completion = rollout.completion
        if len(completion.logprobs) != len(completion.token_ids):
            raise ValueError(
                f"a completion of prompt {rollout.prompt.id!r} has {len(completion.token_ids)} tokens but {len(completion.logprobs)} "
                "log-probs: the engine must return one for each token"
            )
        if completion.semantics != semantics:
            raise ValueError(
                f"the log-probs of one batch must be those of one distribution, but prompt {first!r} was sampled with {semantics} and "
                f"prompt {rollout.prompt.id!r} with {completion.semantics}: do the ranks have engines of different settings?"
            )
    is_plain = semantics.temperature == 1 and semantics.top_p == 1 and semantics.top_k == 0
    if not semantics.is_processed and not is_plain:
        raise ValueError(
            f"the engine sampled with {semantics} but reports log-probs of softmax(logits), another distribution than it sampled from: "
            "have it report processed log-probs (vLLM: logprobs_mode='processed_logprobs'), or sample at temperature 1 without top_p "
            "and top_k"
        )
    if semantics.temperature != temperature:
        raise ValueError(
            f"the engine sampled prompt {first!r} at temperature {semantics.temperature} but data.sampling.temperature is {temperature}, "
            "which the policy's log-probs are computed with: the engine must obey its SamplingParams, and say so in "
            "Completion.semantics"
        )
    return semantics


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
