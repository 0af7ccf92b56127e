"""The books of a run on disk: one line per optimizer step."""

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_rlvr.modules.ledger import StepEntry


class LedgerLog(Callback):
    """Writes `ledger.csv` into the logger's run folder: step, numerator, denominator, tokens and sequences of every optimizer step.

    They are sums over all ranks and micro-batches, checked against what the step was made for; numerator over denominator is the
    loss. Only rank 0 writes, and a line is on disk before the next step begins. Loggers without a folder get no file.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._written = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the file."""
        # `log_dir` is a broadcast: every rank asks, though one writes.
        folder = trainer.log_dir
        self._path = Path(folder) / "ledger.csv" if folder and trainer.is_global_zero else None
        self._written = -1
        if self._path is not None and not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._append([field.name for field in fields(StepEntry)])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Enter the optimizer step, if this micro-batch ended one."""
        entry = getattr(getattr(pl_module, "ledger", None), "latest", None)
        if self._path is not None and entry is not None and entry.step != self._written:
            self._written = entry.step
            self._append(list(asdict(entry).values()))

    def _append(self, cells: list[Any]) -> None:
        assert self._path is not None
        with open(self._path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(cells)
