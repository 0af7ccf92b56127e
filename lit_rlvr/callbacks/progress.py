"""The progress bar: iterations, the current phase, and the numbers one watches."""

import math
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console

from lit_rlvr.callbacks.progress_display import LineDisplay, Progress, TerminalDisplay

HEADLINE = ("rollout/reward", "rollout/accuracy", "train/loss", "loss", "train/entropy", "val/loss", "val/avg@*[0-9]")
"""Metrics worth a place on the bar, in this order, when they are logged."""


class RolloutProgressBar(ProgressBar):
    """One bar over the whole run instead of one per epoch, with the current phase and the latest metrics below it.

    With rollouts the unit is an iteration (a Trainer epoch), without them an optimizer step. A terminal is redrawn by a thread;
    elsewhere (a file, a pipe, a notebook) a line is printed every ten seconds or every tenth of the run.

    Args:
        metrics: names or patterns (`val/avg@*`) of the metrics to show.
        refresh_per_second: how often a terminal is redrawn.
        seconds_per_line: seconds between two lines where there is no terminal.
    """

    def __init__(
        self, metrics: Sequence[str] = HEADLINE, refresh_per_second: float = 2.0, seconds_per_line: float = 10.0
    ) -> None:
        super().__init__()
        self._patterns = tuple(metrics)
        self._refresh_per_second = refresh_per_second
        self._seconds_per_line = seconds_per_line
        self._is_enabled = True
        self._display: TerminalDisplay | LineDisplay | None = None
        self._metrics_read = -math.inf
        self.progress = Progress()

    def disable(self) -> None:
        """Show nothing from now on."""
        self._stop()
        self._is_enabled = False

    def enable(self) -> None:
        """Show progress again."""
        self._is_enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print without breaking the bar."""
        if isinstance(self._display, TerminalDisplay):
            self._display.console.print(*args)
        elif self._is_enabled:
            print(*args, **kwargs)  # noqa: T201

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask the rollout engine, if there is one, to report how far it is."""
        super().setup(trainer, pl_module, stage)
        engine = getattr(getattr(trainer, "datamodule", None), "engine", None)
        if engine is not None:
            engine.on_progress = self.report

    def report(self, done: int, total: int) -> None:
        """Say how far the current phase is. The rollout engine calls it.

        Args:
            done: completions (or groups) finished in this phase.
            total: how many the phase will have.
        """
        self._enter(self.progress.phase, done, total)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar, where a resumed run left it."""
        has_rollouts = hasattr(getattr(trainer, "datamodule", None), "rollout_observers")
        self.progress.unit = "iteration" if has_rollouts else "step"
        self.progress.total = self._total(trainer)
        self.progress.begin(self._done(trainer))
        self._start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the rollout: it happens before the first micro-batch."""
        self._read_metrics(trainer)
        self._enter("collecting rollouts" if self.progress.unit == "iteration" else "loading data")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance, and look at the metrics now and then: reading them waits for the device."""
        self.progress.done = self._done(trainer)
        if self.progress.unit == "step":
            self.progress.mark()
        if time.monotonic() - self._metrics_read > 1.0:
            self._read_metrics(trainer)
        per_epoch = self._steps_per_epoch(trainer)
        done_in_epoch = (batch_idx + 1) // trainer.accumulate_grad_batches
        self._enter("optimizer step", done_in_epoch, None if math.isinf(per_epoch) else int(per_epoch))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the end of an iteration as the base of the estimate."""
        self.progress.mark()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the finished bar standing."""
        self._read_metrics(trainer)
        self.progress.phase, self.progress.phase_total = "finished", None
        self._stop()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the validation."""
        self._start()
        self._enter("validating")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Advance the validation."""
        batches = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
        total = batches[dataloader_idx]
        self._enter("validating", batch_idx + 1, None if math.isinf(total) else int(total))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after a validation that is not part of a training."""
        if trainer.state.fn == "validate":
            self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back before the traceback is printed."""
        self._stop()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the terminal back."""
        self._stop()

    def _start(self) -> None:
        if not self._is_enabled or self._display is not None:
            return
        console = Console()
        if console.is_terminal:
            self._display = TerminalDisplay(console, self.progress, self._refresh_per_second)
        else:
            self._display = LineDisplay(console, self.progress, self._seconds_per_line)
        self._display.start()

    def _stop(self) -> None:
        if self._display is not None:
            self._display.stop()
            self._display = None

    def _enter(self, phase: str, done: int = 0, total: int | None = None) -> None:
        self.progress.phase, self.progress.phase_done, self.progress.phase_total = phase, done, total
        if self._display is not None:
            self._display.update()

    def _read_metrics(self, trainer: Trainer) -> None:
        # Only called where Lightning holds per-step values or has reset the epoch's: elsewhere `callback_metrics` computes
        # epoch values, which can be a collective, and this runs on rank 0 alone.
        if self._display is None:
            return
        self._metrics_read = time.monotonic()
        available: Mapping[str, Any] = trainer.callback_metrics
        for pattern in self._patterns:
            for name in sorted(name for name in available if fnmatchcase(name, pattern)):
                self.progress.metrics[name.removeprefix("rollout/").removeprefix("train/")] = float(available[name])

    def _steps_per_epoch(self, trainer: Trainer) -> float:
        batches = trainer.num_training_batches
        return batches if math.isinf(batches) else math.ceil(batches / trainer.accumulate_grad_batches)

    def _total(self, trainer: Trainer) -> float | None:
        per_epoch = self._steps_per_epoch(trainer)
        epochs = math.inf if trainer.max_epochs in (None, -1) else float(trainer.max_epochs or 0)
        steps = min(math.inf if trainer.max_steps < 0 else trainer.max_steps, epochs * per_epoch if epochs else 0)
        if self.progress.unit == "iteration":
            steps = steps / per_epoch
        return None if math.isinf(steps) or math.isnan(steps) else steps

    def _done(self, trainer: Trainer) -> float:
        if self.progress.unit == "iteration":
            return trainer.global_step / self._steps_per_epoch(trainer)
        return float(trainer.global_step)
