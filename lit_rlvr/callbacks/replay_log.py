"""Rollouts on disk, with all that training needs to be repeated without an engine."""

import gzip
import io
import json
import warnings
from collections.abc import Sequence

import fsspec
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_rlvr.callbacks.rollout_log import write_whole
from lit_rlvr.rollout.replay import ALL_FILES, file_name, row_of
from lit_rlvr.types import RolloutGroup


class ReplayLog(Callback):
    """Writes the training rollouts of each iteration for `ReplayEngine`: gzipped JSON Lines, `iteration_000012.jsonl.gz`.

    One row per completion that was generated, trained on or not: prompt id and sampling seed, which it is found by, a digest of the
    prompt's tokens, the completion's tokens and log-probs (every float exactly), finish reason, weight versions, and which
    distribution was sampled from. Rewards and text are not stored: a replay judges and decodes again. A file appears under its name
    only when complete, and only rank 0 writes. Every iteration is written, since a replay needs them all. What the directory holds
    of later iterations when the first one is written (of another run, or from after the checkpoint that was resumed) is removed, with
    a warning: two runs in one recording could not be told apart.

    Args:
        directory: a local folder or an fsspec URL; without one, `replay` inside the logger's run folder.
    """

    def __init__(self, directory: str | None = None) -> None:
        self.directory = directory
        self._resolved_directory = directory
        self._is_writer = True
        self._has_written = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder and ask the DataModule for the groups it collects.

        Raises:
            ValueError: there is no DataModule that collects rollouts.
        """
        # `log_dir` is a broadcast: every rank asks, though one writes.
        run_directory = trainer.log_dir or trainer.default_root_dir
        if self.directory is None:
            self._resolved_directory = f"{run_directory.rstrip('/')}/replay"
        self._is_writer = trainer.is_global_zero
        self._has_written = False
        observers = getattr(getattr(trainer, "datamodule", None), "rollout_observers", None)
        if observers is None:
            raise ValueError(
                "ReplayLog has nothing to record: the DataModule collects no rollouts (is this supervised training?)"
            )
        if self.log_groups not in observers:
            observers.append(self.log_groups)

    def log_groups(self, groups: Sequence[RolloutGroup], iteration: int, stage: str) -> None:
        """Write the groups of an iteration; those of other stages than `train` are left out.

        Raises:
            ValueError: a completion has no seed, or there is neither a directory nor a Trainer to name one.
        """
        if not self._is_writer or stage != "train":
            return
        if self._resolved_directory is None:
            raise ValueError("ReplayLog has no directory: set callbacks.ReplayLog.directory, or let the Trainer set it up")
        directory, name = self._resolved_directory.rstrip("/"), file_name(iteration)
        content = compressed(groups, iteration)
        if not self._has_written:
            _remove_later(directory, name)
        write_whole(f"{directory}/{name}", content)
        self._has_written = True


def _remove_later(directory: str, name: str) -> None:
    """Remove the recorded iterations that come after `name`."""
    filesystem, path = fsspec.core.url_to_fs(directory)
    later = [found for found in filesystem.glob(f"{path}/{ALL_FILES}") if found.rsplit("/", 1)[-1] > name]
    for found in later:
        filesystem.rm_file(found)
    if later:
        warnings.warn(f"ReplayLog: removed {len(later)} recorded iterations after {name} from {directory}", stacklevel=3)


def compressed(groups: Sequence[RolloutGroup], iteration: int) -> bytes:
    """Return the rows of an iteration as they are stored: the same groups give the same bytes."""
    buffer = io.BytesIO()
    # The default time stamp would make two recordings of one run differ.
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:
        for group in groups:
            for rollout in group.rollouts:
                row = row_of(group.prompt, rollout.completion, iteration)
                file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
    return buffer.getvalue()
