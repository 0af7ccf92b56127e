"""What happened to each token of an optimizer step, on disk, for the token lens."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lit_rlvr.callbacks.rollout_log import write_whole
from lit_rlvr.callbacks.token_pieces import token_pieces
from lit_rlvr.objectives import PolicyObjective
from lit_rlvr.types import RolloutBatch


class TokenLog(Callback):
    """Writes the tokens of an iteration's last optimizer step, the most off-policy one, as `iteration_000012.jsonl`.

    One row per completion: iteration, optimizer step (counted from 0), objective (class path and settings), temperature, reward,
    correctness, prompt, and under `tokens` one list per column over the tokens in the loss: id, text, log-probs (of the policy
    before this step's update, of the old policy, of the engine), entropy, advantage, and the loss weight. Numbers that are not
    finite become null. Rows without weight are left out, and an iteration without any other leaves no file. A file appears under
    its name only when complete.

    `lit-rlvr objective lens FILE` draws such a file. Only rank 0 writes, and only what it trained on itself.

    Args:
        every_n_iterations: write every n-th iteration.
        max_completions: write at most so many completions of an iteration, spread evenly over all lengths.
        directory: a local folder or an fsspec URL; without one, `tokens` inside the logger's run folder.

    Raises:
        ValueError: when `every_n_iterations` or `max_completions` is below 1.
    """

    def __init__(self, every_n_iterations: int = 10, max_completions: int = 64, directory: str | None = None) -> None:
        for name, value in (("every_n_iterations", every_n_iterations), ("max_completions", max_completions)):
            if value < 1:
                raise ValueError(f"TokenLog.{name} must be at least 1, got {value}")
        self.every_n_iterations = every_n_iterations
        self.max_completions = max_completions
        self.directory = directory
        self._resolved_directory = directory
        self._kept: list[_Row] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder."""
        # `log_dir` is a broadcast: every rank asks, though one writes.
        run_directory = trainer.log_dir or trainer.default_root_dir
        if self.directory is None:
            self._resolved_directory = f"{run_directory.rstrip('/')}/tokens"

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the micro-batches of the last optimizer step; write them after the last.

        Raises:
            TypeError: the module does not train on rollouts, or its `training_step` does not return log-probs and entropies.
        """
        if not trainer.is_global_zero or trainer.current_epoch % self.every_n_iterations:
            return
        num_batches = int(trainer.num_training_batches)
        start = max(num_batches - trainer.accumulate_grad_batches, 0)
        if batch_idx == start:
            self._kept = []
        if batch_idx >= start:
            self._kept += _rows(batch, outputs)
        if batch_idx == num_batches - 1:
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, module: LightningModule) -> None:
        kept, self._kept = self._kept, []
        count = min(len(kept), self.max_completions)
        if not count:
            return
        # Micro-batches are sorted by length: the first rows would be the shortest.
        chosen = [kept[i * len(kept) // count] for i in range(count)]
        iteration = trainer.current_epoch
        step = {
            "iteration": iteration,
            "optimizer_step": trainer.global_step - 1,
            "objective": describe_objective(module.objective),  # type: ignore[arg-type]
        }
        tokenizer = trainer.datamodule.tokenizer  # type: ignore[attr-defined]
        lines = [json.dumps(step | row.columns(tokenizer), ensure_ascii=False, allow_nan=False) for row in chosen]
        # A lone surrogate, which a decoder may produce, is not UTF-8 but has an escape in JSON.
        content = "".join(f"{line}\n" for line in lines).encode("utf-8", errors="backslashreplace")
        write_whole(f"{self._resolved_directory}/iteration_{iteration:06d}.jsonl", content)


@dataclass(frozen=True)
class _Row:
    """One completion on the CPU, without padding."""

    input_ids: list[int]
    positions: list[int]
    """Of the tokens in the loss."""
    numbers: Mapping[str, list[float]]
    """Column name to one number for each of the positions."""
    facts: Mapping[str, Any]

    def columns(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return the row, ready for JSON."""
        start = self.positions[0]
        pieces = token_pieces(tokenizer, self.input_ids[start:])
        tokens = {
            "token_id": [self.input_ids[t] for t in self.positions],
            "token": [pieces[t - start] for t in self.positions],
        }
        numbers = {name: [_finite(value) for value in values] for name, values in self.numbers.items()}
        prompt = "".join(token_pieces(tokenizer, self.input_ids[:start]))
        return {**self.facts, "prompt": prompt, "tokens": tokens | numbers}


def _rows(batch: Any, outputs: Any) -> list[_Row]:
    """Return the rows of a micro-batch that have weight.

    Raises:
        TypeError: this is no micro-batch of RLModule.
    """
    if not isinstance(batch, RolloutBatch) or batch.old_logprobs is None:
        raise TypeError(f"TokenLog needs scored rollouts, as RLModule trains on, got a {type(batch).__name__}: remove TokenLog")
    if not isinstance(outputs, Mapping) or not {"logprobs", "entropy"} <= outputs.keys():
        raise TypeError(
            "TokenLog needs a training_step that returns {'loss', 'logprobs' [B, T], 'entropy' [B, T]}, as RLModule's"
        )
    weights = batch.loss_weights if batch.rollout_weights is None else batch.loss_weights * batch.rollout_weights
    columns = {
        "logprob": outputs["logprobs"],
        "old_logprob": batch.old_logprobs,
        "rollout_logprob": batch.rollout_logprobs,
        "entropy": outputs["entropy"],
        "advantage": batch.advantages,
        "loss_weight": weights,
    }
    stacked = torch.stack([column.detach().float() for column in columns.values()]).cpu()
    cpu = batch.to("cpu")
    return [_row(cpu, i, dict(zip(columns, stacked[:, i], strict=True))) for i in _with_weight(cpu)]


def _with_weight(batch: RolloutBatch) -> list[int]:
    return batch.loss_weights.ne(0).any(dim=1).nonzero().flatten().tolist()


def _row(batch: RolloutBatch, i: int, columns: Mapping[str, Tensor]) -> _Row:
    mask = batch.loss_mask[i]
    reward = float(batch.rewards[i])
    return _Row(
        input_ids=batch.input_ids[i, : int(batch.attention_mask[i].sum())].tolist(),
        positions=mask.nonzero().flatten().tolist(),
        numbers={name: column[mask].tolist() for name, column in columns.items()},
        facts={"temperature": batch.temperature, "reward": _finite(reward), "is_correct": bool(batch.is_correct[i])},
    )


def describe_objective(objective: PolicyObjective) -> dict[str, Any]:
    """Return class path and settings of an objective, ready for JSON. Settings are the fields of a dataclass."""
    path = f"{type(objective).__module__}.{type(objective).__qualname__}"
    settings: dict[str, Any] = asdict(objective) if is_dataclass(objective) else {}
    return {"class_path": path, "init_args": _json_ready(settings)}


def _json_ready(value: Any) -> Any:
    """Return the value with what JSON cannot hold as text."""
    if isinstance(value, Mapping):
        return {str(key): _json_ready(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(entry) for entry in value]
    is_plain = value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_plain else str(value)


def _finite(value: float) -> float | None:
    """Return a float32 with the nine digits that tell it from any other, or None."""
    return float(f"{value:.9g}") if math.isfinite(value) else None
