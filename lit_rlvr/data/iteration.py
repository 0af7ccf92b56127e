"""One RL iteration: collected groups become the rows and the optimizer steps that are trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch

from lit_rlvr.batching import balanced_runs, shuffled
from lit_rlvr.data.collate import collate_rollouts, stamp_weights
from lit_rlvr.data.collecting import CollectedGroups
from lit_rlvr.data.settings import IterationConfig
from lit_rlvr.ops import Reduction
from lit_rlvr.seeding import derive_seed
from lit_rlvr.types import RolloutBatch


@dataclass(frozen=True)
class Iteration:
    """The rollouts of one iteration, the same on every rank, and the rows of each of its optimizer steps."""

    index: int
    batch: RolloutBatch
    """All rows that are trained on; a single filler row when every group was filtered."""
    steps: list[list[int]]
    """Rows of each optimizer step, over all ranks; empty lists when every group was filtered."""

    def micro_batches(
        self, step: int, rank: int, world_size: int, per_rank: int, reduction: Reduction, divisor: float | None
    ) -> list[RolloutBatch]:
        """Return this rank's micro-batches of an optimizer step, weights stamped, lengths balanced, padding trimmed.

        There are always `per_rank` of them: where rows run out, a row with zero weights keeps the ranks in step.
        """
        if not self.steps[step]:
            return [_inert(self.batch)] * per_rank
        rows = stamp_weights(self.batch.rows(torch.tensor(self.steps[step])), reduction, divisor)
        runs = balanced_runs(rows.attention_mask.sum(dim=1).tolist(), world_size * per_rank)
        return [rows.rows(torch.tensor(run)) if run else _inert(rows) for run in runs[rank::world_size]]

    def state_dict(self) -> dict[str, Any]:
        """Return plain tensors and numbers, loadable with `weights_only=True`."""
        return {"index": self.index, "steps": self.steps, "batch": _plain(self.batch)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "Iteration":
        """Rebuild what `state_dict` returned."""
        return cls(state["index"], RolloutBatch(**state["batch"]), state["steps"])


def build_iteration(
    collected: CollectedGroups, index: int, config: IterationConfig, temperature: float, seed: int
) -> Iteration:
    """Lay out the kept groups as rows, and deal the groups to the mini-batches of each PPO epoch.

    Groups stay whole within a mini-batch and are dealt in a new random order in each epoch. When every group was filtered, a
    completion that is not trained on stands in, without weight.
    """
    rollouts = [rollout for group in collected.kept for rollout in group.rollouts]
    batch = collate_rollouts(rollouts or collected.seen[0].rollouts[:1], temperature)
    ends = list(accumulate(len(group.rollouts) for group in collected.kept))
    rows = [list(range(end - len(group.rollouts), end)) for group, end in zip(collected.kept, ends, strict=True)]
    steps = []
    for epoch in range(config.ppo_epochs):
        order = shuffled(len(rows), derive_seed(seed, "mini-batches", index, epoch)).tolist()
        for mini_batch in range(config.num_mini_batches):
            dealt = order[mini_batch :: config.num_mini_batches]
            steps.append([row for group in dealt for row in rows[group]])
    return Iteration(index, replace(batch, stats=collected.statistics()), steps)


def _inert(batch: RolloutBatch) -> RolloutBatch:
    """Return the first row without weight: it goes through the model, so that ranks stay in step, and changes nothing."""
    row = batch.rows(torch.tensor([0]))
    nothing = torch.zeros_like(row.loss_weights)
    return replace(row, loss_weights=nothing, positive_weights=nothing)


def _plain(batch: RolloutBatch) -> dict[str, Any]:
    """Return the fields as plain values, but for the totals: those belong to an optimizer step, which rows become later."""
    fields = {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(batch).items()}
    del fields["totals"]
    return fields
