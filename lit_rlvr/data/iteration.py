"""One RL iteration: collected groups become the rows and the optimizer steps that are trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lit_rlvr.advantages import AdvantageEstimator
from lit_rlvr.batching import balanced_runs, shuffled
from lit_rlvr.data.collate import collate_rollouts, stamp_weights
from lit_rlvr.ops import Reduction
from lit_rlvr.seeding import derive_seed
from lit_rlvr.types import RolloutBatch, RolloutGroup


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
    groups: Sequence[RolloutGroup],
    filler: RolloutGroup,
    index: int,
    num_mini_batches: int,
    ppo_epochs: int,
    temperature: float,
    seed: int,
) -> Iteration:
    """Lay out the kept groups as rows, and deal the groups to the mini-batches of each PPO epoch.

    Groups stay whole within a mini-batch and are dealt in a new random order in each epoch. When `groups` is empty, a row of
    `filler` stands in, without weight.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    batch = collate_rollouts(rollouts or filler.rollouts[:1], temperature)
    rows, start = [], 0
    for group in groups:
        rows.append(list(range(start, start + len(group.rollouts))))
        start += len(group.rollouts)
    steps = []
    for epoch in range(ppo_epochs):
        order = shuffled(len(groups), derive_seed(seed, "mini-batches", index, epoch)).tolist()
        for mini_batch in range(num_mini_batches):
            dealt = order[mini_batch::num_mini_batches]
            steps.append([row for position in dealt for row in rows[position]])
    return Iteration(index, batch, steps)


def with_advantages(group: RolloutGroup, estimator: AdvantageEstimator) -> RolloutGroup:
    """Return the group with the advantage of each completion. Every completion must have been judged."""
    advantages = estimator(torch.tensor(group.rewards)).tolist()
    rollouts = [replace(r, advantage=a) for r, a in zip(group.rollouts, advantages, strict=True)]
    return replace(group, rollouts=tuple(rollouts))


def _inert(batch: RolloutBatch) -> RolloutBatch:
    """Return the first row without weight: it goes through the model, so that ranks stay in step, and changes nothing."""
    row = batch.rows(torch.tensor([0]))
    nothing = torch.zeros_like(row.loss_weights)
    return replace(row, loss_weights=nothing, positive_weights=nothing)


def _plain(batch: RolloutBatch) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(batch).items()}
