"""Every rollout on disk, readable with any JSON Lines tool."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_rlvr.types import Rollout, RolloutGroup


class RolloutLog(Callback):
    """Writes one JSON Lines file per iteration, `iteration_000012.jsonl`, and `validation_000012.jsonl` for evaluations.

    One row per completion: iteration, prompt (id, source, messages, answer), member of the group, text, number of tokens,
    finish reason, reward, correctness, each reward function's verdict, advantage, statistics of the engine's log-probs, which
    distribution they are those of, the sampling seed, and the oldest and newest version of the weights that generated it.
    Numbers that are not finite become null. A file appears under its name only when complete, and only rank 0 writes.

    Args:
        every_n_iterations: write every n-th iteration; validations are written whenever they happen.
        directory: a local folder or an fsspec URL; without one, `rollouts` inside the logger's run folder.

    Raises:
        ValueError: when `every_n_iterations` is below 1.
    """

    def __init__(self, every_n_iterations: int = 1, directory: str | None = None) -> None:
        if every_n_iterations < 1:
            raise ValueError(f"every_n_iterations must be at least 1, got {every_n_iterations}")
        self.every_n_iterations = every_n_iterations
        self.directory = directory
        self._resolved_directory = directory
        self._is_writer = True
        self._open_files: dict[str, tuple[str, list[str]]] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder and ask the DataModule for the groups it collects."""
        # `log_dir` is a broadcast: every rank asks, though one writes.
        run_directory = trainer.log_dir or trainer.default_root_dir
        if self.directory is None:
            self._resolved_directory = f"{run_directory.rstrip('/')}/rollouts"
        self._is_writer = trainer.is_global_zero
        self._open_files = {}
        observers = getattr(getattr(trainer, "datamodule", None), "rollout_observers", None)
        if observers is not None and self.log_groups not in observers:
            observers.append(self.log_groups)

    def log_groups(self, groups: Sequence[RolloutGroup], iteration: int, stage: str) -> None:
        """Write the groups of an iteration. Several calls for the same iteration and stage extend its file.

        Args:
            groups: scored groups.
            iteration: counts from 0.
            stage: `train` for rollouts that are trained on; any other word starts the names of its own files.

        Raises:
            ValueError: when there is neither a directory nor a Trainer to name one.
        """
        if not self._is_writer or (stage == "train" and iteration % self.every_n_iterations):
            return
        if self._resolved_directory is None:
            raise ValueError("RolloutLog has no directory: set callbacks.RolloutLog.directory, or let the Trainer set it up")
        name = f"{'iteration' if stage == 'train' else stage}_{iteration:06d}.jsonl"
        # Only the file in progress is kept, one per stage.
        open_name, lines = self._open_files.get(stage, ("", []))
        lines = lines if open_name == name else []
        lines += [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows(groups, iteration)]
        self._open_files[stage] = (name, lines)
        # A lone surrogate, which a decoder may produce, is not UTF-8 but has an escape in JSON.
        content = "".join(f"{line}\n" for line in lines).encode("utf-8", errors="backslashreplace")
        write_whole(f"{self._resolved_directory.rstrip('/')}/{name}", content)


def rows(groups: Sequence[RolloutGroup], iteration: int) -> Iterator[dict[str, Any]]:
    """Yield one JSON-ready row per completion, in order."""
    for group in groups:
        prompt = {
            "iteration": iteration,
            "prompt_id": group.prompt.id,
            "source": group.prompt.source,
            "messages": [dict(message) for message in group.prompt.messages],
            "answer": group.prompt.answer,
        }
        for member, rollout in enumerate(group.rollouts):
            yield prompt | {"member": member} | _completion_columns(rollout)


def _completion_columns(rollout: Rollout) -> dict[str, Any]:
    completion = rollout.completion
    return {
        "text": completion.text,
        "num_tokens": len(completion.token_ids),
        "finish_reason": completion.finish_reason,
        "reward": _finite(rollout.reward),
        "is_correct": rollout.is_correct,
        "verdicts": {name: {"score": _finite(v.score), "detail": v.detail} for name, v in rollout.verdicts.items()},
        "advantage": _finite(rollout.advantage),
        "logprobs": _statistics(completion.logprobs),
        "semantics": asdict(completion.semantics),
        "seed": completion.seed,
        "weight_version": completion.weight_version,
        "newest_weight_version": max(completion.token_versions, default=completion.weight_version),
    }


def _statistics(logprobs: Sequence[float]) -> Mapping[str, float | None]:
    if not logprobs:
        return {"mean": None, "min": None, "sum": 0.0}
    total = sum(logprobs)
    return {"mean": _finite(total / len(logprobs)), "min": _finite(min(logprobs)), "sum": _finite(total)}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def write_whole(path: str, content: bytes) -> None:
    """Write a file so that a reader finds all of it or the one before, locally by renaming.

    Object stores show an upload only when it is complete, so a URL is written directly.
    """
    filesystem, path = fsspec.core.url_to_fs(path)
    filesystem.makedirs(os.path.dirname(path), exist_ok=True)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, content)
        return
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
