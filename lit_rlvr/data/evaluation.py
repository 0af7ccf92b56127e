"""Judged completions of held-out problems, stacked for the metrics."""

from collections.abc import Sequence

import torch

from lit_rlvr.types import EvalBatch, RolloutGroup


def collate_evaluation(sampled: Sequence[RolloutGroup], greedy: Sequence[RolloutGroup] | None, num_real: int) -> EvalBatch:
    """Stack groups into an evaluation batch; rows from `num_real` on only even out the ranks.

    `greedy` holds groups of one greedy completion for the same prompts, or is None.
    """
    rows = [group.rollouts for group in sampled]
    return EvalBatch(
        correct=torch.tensor([[r.is_correct for r in row] for row in rows]),
        judged=torch.tensor([[r.reward is not None for r in row] for row in rows]),
        truncated=torch.tensor([[r.completion.is_truncated for r in row] for row in rows]),
        lengths=torch.tensor([[len(r.completion.token_ids) for r in row] for row in rows]),
        greedy_correct=None if greedy is None else torch.tensor([g.rollouts[0].is_correct for g in greedy]),
        is_real=torch.arange(len(rows)) < num_real,
    )
