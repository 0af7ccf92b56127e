"""Held-out problems: completions of them in chunks, judged, and stacked for the metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from lit_rlvr.data.ranks import Ranks
from lit_rlvr.data.settings import EvaluationConfig
from lit_rlvr.rollout.collector import Collector
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.types import EvalBatch, Prompt, RolloutGroup


@dataclass(frozen=True)
class Evaluator:
    """Has held-out problems sampled from the current weights, and judged."""

    config: EvaluationConfig
    sampling: SamplingParams
    """Counts where `config` has none of its own."""
    collector: Collector
    ranks: Ranks

    def chunks(self, prompts: Sequence[Prompt]) -> list[list[Prompt]]:
        """Return the problems in parts that all ranks generate at once."""
        size = self.config.batch_prompts * self.ranks.world_size
        return [list(prompts[start : start + size]) for start in range(0, len(prompts), size)]

    def judge(self, prompts: Sequence[Prompt], stage: str) -> tuple[list[RolloutGroup], list[RolloutGroup] | None]:
        """Return a group of sampled completions per problem, and one with its greedy completion if that is asked for.

        The seeds are the same at every evaluation: scores of two models can be compared. A collective.
        """
        params = self.config.sampling or self.sampling
        sampled = self._groups(prompts, self.config.group_size, params, stage)
        if not self.config.greedy:
            return sampled, None
        return sampled, self._groups(prompts, 1, replace(params, temperature=0.0), f"{stage}-greedy")

    def _groups(self, prompts: Sequence[Prompt], group_size: int, params: SamplingParams, stream: str) -> list[RolloutGroup]:
        """Share problems among the ranks, and return the groups of all on every rank."""
        mine = self.ranks.share(prompts)
        return self.ranks.gather_from(lambda: self.collector.collect(mine, group_size, params, stream, 0))


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
