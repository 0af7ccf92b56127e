"""RL steps that take turns: with each objective, and with a bare loss; the parts of each are timed where they run."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning.pytorch.trainer.connectors.logger_connector.logger_connector import _LoggerConnector
from stopwatch import Stopwatch
from torch import Tensor
from torch.optim import Optimizer

from lit_rlvr.data import iteration
from lit_rlvr.data.collecting import CollectedGroups
from lit_rlvr.metrics.training_dynamics import TrainingDynamics
from lit_rlvr.modules import Policy, PolicyModule, RLModule, rl
from lit_rlvr.modules.ledger import NormalizationLedger
from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.objectives import ASPO, GRPO, GSPO, HighEntropyRange, ObjectiveInputs, PolicyObjective
from lit_rlvr.types import RolloutBatch, RolloutGroup

OBJECTIVES: dict[str, PolicyObjective] = {
    "GRPO": GRPO(clip_high=0.28),
    "ASPO, high_entropy": ASPO(high_entropy=HighEntropyRange(0.4, 0.4, 0.8)),
    "GSPO": GSPO(),
}
BARE = "bare loss"
POLICY, BACKWARD = "policy", "objective and weighted sum: backward"
ROLLOUT_STATISTICS = "rollout statistics"
LOG_DICT, WRITE = "logging: Lightning's log_dict", "logging: CSV, TensorBoard"
LOGGING = (LOG_DICT, WRITE)
PARTS: list[tuple[str, Any, str]] = [
    ("loss weights: stamping", iteration, "stamp_weights"),
    (POLICY, Policy, "forward"),
    ("objective: its inputs", rl, "objective_inputs"),
    *(("objective: forward", type(objective), "__call__") for objective in OBJECTIVES.values()),
    ("weighted sum", rl, "weighted_sum"),
    ("ledger", NormalizationLedger, "add"),
    ("ledger", NormalizationLedger, "close"),
    ("rest of training_step", RLModule, "training_step"),
    ("training dynamics: tokens", TrainingDynamics, "update_batch"),
    ("training dynamics: gradient hook", TrainingDynamics, "update_gradient"),
    ("step statistics: record", PolicyModule, "record"),
    ("step statistics: gradient norm", PolicyModule, "on_before_optimizer_step"),
    (ROLLOUT_STATISTICS, CollectedGroups, "statistics"),
    ("end of iteration: compute", RLModule, "on_train_epoch_end"),
    (LOG_DICT, PolicyModule, "log_everywhere"),
    (WRITE, _LoggerConnector, "update_train_epoch_metrics"),
]
"""What is timed: its name in the table, and where the function is."""


@dataclass(frozen=True)
class StepCost:
    """One RL step in seconds."""

    total: float
    rollout: float
    """Up to the first micro-batch."""
    parts: dict[str, float]
    """Seconds of each part but the policy's forward."""
    calls: dict[str, int]

    @property
    def training(self) -> float:
        """Seconds after the first micro-batch."""
        return self.total - self.rollout

    def seconds(self, without: Sequence[str] = ()) -> float:
        """Return the seconds of all parts but some."""
        return sum(seconds for part, seconds in self.parts.items() if part not in without)


def watched(stopwatch: Stopwatch) -> AbstractContextManager[None]:
    """Return a context in which the parts are timed."""
    return stopwatch.watching(PARTS)


@dataclass(frozen=True)
class Watched(PolicyObjective):
    """An objective that stops its backward part where the gradient of its log-probs is there."""

    objective: PolicyObjective
    stopwatch: Stopwatch

    def __call__(self, x: ObjectiveInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what the objective returns."""
        if x.logprobs.requires_grad:
            x.logprobs.register_hook(lambda gradient: self.stopwatch.stop())
        return self.objective(x)


class MeasuredModule(RLModule):
    """RLModule whose epochs take turns: every objective once in a round, and the bare loss, in an order that rotates.

    Args:
        policy: which model is trained. Every epoch starts from its weights.
        stopwatch: times the parts.
        prompts_per_round: how far the stream of prompts moves on with each round; the epochs of a round have the same prompts.
    """

    def __init__(self, policy: PolicyConfig, stopwatch: Stopwatch, prompts_per_round: int) -> None:
        super().__init__(policy, optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-4, weight_decay=0.0))
        self.stopwatch = stopwatch
        self.prompts_per_round = prompts_per_round
        self.costs: dict[str, list[StepCost]] = {name: [] for name in (*OBJECTIVES, BARE)}
        self.lengths: list[int] = []
        self.kept: list[int] = []
        modules = {name: RLModule(policy, Watched(objective, stopwatch)) for name, objective in OBJECTIVES.items()}
        self._objectives = {name: (module.objective, module.dynamics) for name, module in modules.items()}
        self._case, self._start, self._rollout = "", 0.0, 0.0

    def on_train_epoch_start(self) -> None:
        """Book the epoch before, choose the next case, go back to the first weights, and start the clock."""
        self._book()
        names, turn = list(self.costs), self.current_epoch // len(self.costs)
        self._case = names[(self.current_epoch + turn) % len(names)]
        if self._case != BARE:
            self.objective, self.dynamics = self._objectives[self._case]
        if self.current_epoch == 0:
            self._weights = {name: tensor.clone() for name, tensor in self.policy.state_dict().items()}
        self.policy.load_state_dict(self._weights)
        drawn = {"prompts_drawn": turn * self.prompts_per_round, "next_iteration": turn, "cursor": 0, "current": None}
        cast(Any, self.trainer).datamodule.load_state_dict(drawn)
        self.stopwatch.reset()
        self._start = time.perf_counter()

    def count_groups(self, groups: Sequence[RolloutGroup], iteration: int, stage: str) -> None:
        """Remember the lengths of the completions, and how many are trained on."""
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        self.lengths += [len(rollout.completion.token_ids) for rollout in rollouts]
        self.kept.append(sum(rollout.advantage != 0 for rollout in rollouts))

    def on_train_end(self) -> None:
        """Book the last epoch."""
        self._book()

    def _book(self) -> None:
        if not self._case:
            return
        total = time.perf_counter() - self._start
        parts = {} if self._case == BARE else {part: s for part, s in self.stopwatch.seconds.items() if part != POLICY}
        self.costs[self._case].append(StepCost(total, self._rollout, parts, dict(self.stopwatch.calls)))

    def on_train_batch_start(self, batch: RolloutBatch, batch_idx: int) -> None:
        """End the rollout with the first micro-batch."""
        if batch_idx == 0:
            self._rollout = time.perf_counter() - self._start
        super().on_train_batch_start(batch, batch_idx)

    def training_step(self, batch: RolloutBatch, batch_idx: int) -> Any:
        """Take the objective's step, or the bare one."""
        if self._case != BARE:
            return super().training_step(batch, batch_idx)
        scores = self.policy(batch.input_ids, batch.attention_mask, batch.loss_mask, batch.temperature, with_entropy=False)
        return -(batch.advantages * scores.logprobs * batch.loss_weights).sum() * self.loss_scale

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Start the part that `Watched` stops."""
        if self._case != BARE:
            self.stopwatch.start(BACKWARD)
        super().backward(loss, *args, **kwargs)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Close the books, but not of the bare step, which has none."""
        if self._case != BARE:
            super().on_before_optimizer_step(optimizer)

    def on_train_epoch_end(self) -> None:
        """Log the statistics, but not of the bare step, which has none."""
        if self._case != BARE:
            super().on_train_epoch_end()
