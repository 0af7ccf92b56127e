"""Judged completions of held-out problems, stacked for the metrics."""

from collections.abc import Sequence

import torch

from lit_rlvr.data.ranks import Ranks
from lit_rlvr.types import EvalBatch, RolloutGroup


def collate_evaluation(sampled: Sequence[RolloutGroup], greedy: Sequence[RolloutGroup] | None, ranks: Ranks) -> EvalBatch:
    """Stack this rank's share of the groups.

    A rank without a share gets a row that does not count, so that every rank sees the same number of batches.

    Args:
        sampled: a group per problem, over all ranks.
        greedy: groups of one greedy completion for the same problems, or None.
        ranks: who takes which share.
    """
    mine = ranks.share(range(len(sampled)))
    rows = [sampled[i].rollouts for i in mine or [0]]
    return EvalBatch(
        correct=torch.tensor([[r.is_correct for r in row] for row in rows]),
        judged=torch.tensor([[r.reward is not None for r in row] for row in rows]),
        truncated=torch.tensor([[r.completion.is_truncated for r in row] for row in rows]),
        lengths=torch.tensor([[len(r.completion.token_ids) for r in row] for row in rows]),
        greedy_correct=None if greedy is None else torch.tensor([greedy[i].rollouts[0].is_correct for i in mine or [0]]),
        is_real=torch.arange(len(rows)) < len(mine),
    )
