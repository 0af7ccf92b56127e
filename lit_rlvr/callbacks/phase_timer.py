"""Where the time of an iteration goes: rollout, training, validation."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_rlvr.types import RolloutGroup


class PhaseTimer(Callback):
    """Logs seconds and tokens per second of each phase at the end of every iteration.

    Keys: `time/rollout`, `time/train`, `time/validation`, `time/iteration` and `time/collection` (seconds of the slowest rank),
    `time/rollout_tokens_per_second` (generated tokens, all ranks) and `time/train_tokens_per_second` (prompt and completion
    tokens trained on, all ranks). The rollout is what happens between the start of an epoch and its first micro-batch;
    validation is what Lightning's validation loop takes; training is the rest. The collection is how long it took to generate and judge
    the completions of the iteration: a part of the rollout, unless they were collected during the training before, when the
    rollout is what was left to wait for. Tokens are generated per second of it.

    `totals` holds the seconds of each phase over the whole run, checkpoints included.
    """

    def __init__(self) -> None:
        self.totals: dict[str, float] = defaultdict(float)
        self._start: float | None = None
        self._rollout_seconds: float | None = None
        self._validation_start = 0.0
        self._validation_seconds = 0.0
        self._rollout_tokens = 0
        self._train_tokens: torch.Tensor | int = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask the DataModule for the groups it collects, to count their tokens."""
        observers = getattr(getattr(trainer, "datamodule", None), "rollout_observers", None)
        if observers is not None and self.count_groups not in observers:
            observers.append(self.count_groups)

    def count_groups(self, groups: Sequence[RolloutGroup], iteration: int, stage: str) -> None:
        """Count the generated tokens of a training rollout."""
        if stage == "train":
            self._rollout_tokens += sum(len(r.completion.token_ids) for group in groups for r in group.rollouts)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin, for a run that resumes inside an epoch and therefore sees no epoch start."""
        self._begin()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an iteration."""
        self._begin()

    def _begin(self) -> None:
        self._start, self._rollout_seconds = time.perf_counter(), None
        self._validation_seconds, self._rollout_tokens, self._train_tokens = 0.0, 0, 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """End the rollout with the first micro-batch, and count tokens without waiting for the device."""
        if self._rollout_seconds is None and self._start is not None:
            self._rollout_seconds = time.perf_counter() - self._start
        attention_mask = getattr(batch, "attention_mask", None)
        if attention_mask is not None:
            self._train_tokens = self._train_tokens + attention_mask.sum()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a validation."""
        self._validation_start = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a validation."""
        self._validation_seconds += time.perf_counter() - self._validation_start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the iteration."""
        if self._start is None:
            return
        if pl_module.device.type == "cuda":
            # Kernels of the last step may still run; once per iteration, waiting for them costs nothing.
            torch.cuda.synchronize(pl_module.device)
        total = time.perf_counter() - self._start
        rollout = self._rollout_seconds or 0.0
        seconds = {"rollout": rollout, "train": total - rollout - self._validation_seconds, "iteration": total}
        if self._validation_seconds:
            seconds["validation"] = self._validation_seconds
        for phase, value in seconds.items():
            self.totals[phase] += value
        collection = getattr(getattr(trainer, "datamodule", None), "collection_seconds", rollout)
        self._log(pl_module, seconds | {"collection": collection} if self._rollout_tokens else seconds)

    def _log(self, pl_module: LightningModule, seconds: Mapping[str, float]) -> None:
        slowest = {f"time/{phase}": value for phase, value in seconds.items()}
        if seconds.get("collection", 0) > 0:
            # Every rank sees all groups, so the count is already the count of all ranks.
            slowest["time/rollout_tokens_per_second"] = self._rollout_tokens / seconds["collection"]
        pl_module.log_dict(slowest, on_epoch=True, sync_dist=True, reduce_fx="max")
        if seconds["train"] > 0 and (tokens := int(self._train_tokens)):
            rate = tokens / seconds["train"]
            pl_module.log("time/train_tokens_per_second", rate, on_epoch=True, sync_dist=True, reduce_fx="sum")

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds so far."""
        return {"totals": dict(self.totals)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue counting seconds."""
        self.totals = defaultdict(float, state_dict["totals"])
