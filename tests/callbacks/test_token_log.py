"""The token log: which rows and tokens, their numbers, file names, refusals; in a real run."""

import json
import math
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lit_rlvr.callbacks import TokenLog
from lit_rlvr.callbacks.token_log import describe_objective
from lit_rlvr.data.collate import collate_rollouts, collate_sft, stamp_weights
from lit_rlvr.data.loaders import LazyLoader
from lit_rlvr.objectives import GPPO, GRPO, ObjectiveInputs, PolicyObjective
from lit_rlvr.tasks.tiny_tokenizer import byte_tokenizer
from lit_rlvr.types import Completion, LogprobSemantics, Prompt, Rollout, RolloutBatch

sys.path.insert(0, str(Path(__file__).parent.parent / "end_to_end"))
from rl_run import make_data, make_module, make_trainer

TOKENIZER = byte_tokenizer()
PROMPT = "<|user|>2≠?<|assistant|>"


def batch_of(*texts: str, **changes: Any) -> RolloutBatch:
    """A scored micro-batch that is its whole optimizer step."""
    prompt = Prompt("p", (), token_ids=tuple(TOKENIZER(PROMPT)["input_ids"]))
    rollouts = []
    for i, text in enumerate(texts):
        ids = tuple(TOKENIZER(text)["input_ids"])
        logprobs = tuple(-0.5 - 0.25 * t for t in range(len(ids)))
        completion = Completion(ids, logprobs, "stop", semantics=LogprobSemantics(temperature=0.6))
        rollouts.append(Rollout(prompt, completion, reward=0.5, is_correct=i == 0, advantage=0.75))
    batch = stamp_weights(collate_rollouts(rollouts, temperature=0.6), "token-mean")
    return replace(batch, old_logprobs=batch.rollout_logprobs + 0.125, **changes)


class Batches(LightningDataModule):
    """Hands out the same micro-batches in each epoch."""

    def __init__(self, batches: list) -> None:
        super().__init__()
        self.batches, self.tokenizer = batches, TOKENIZER

    def train_dataloader(self) -> LazyLoader:
        return LazyLoader(len(self.batches), lambda: iter(self.batches))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch


class Shifted(LightningModule):
    """A policy whose log-probs are the old ones plus a constant."""

    def __init__(self, returns_scores: bool = True) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.tensor(0.25))
        self.objective = GPPO(beta1=0.5)
        self.returns_scores = returns_scores

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if not self.returns_scores:
            return self.shift * 0
        logprobs = batch.old_logprobs + self.shift.detach()
        return {"loss": self.shift * 0, "logprobs": logprobs, "entropy": torch.full_like(logprobs, 1.5)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(log: TokenLog, batches: list, module: LightningModule | None = None, **settings: Any) -> None:
    make_trainer(callbacks=[log], **{"max_epochs": 1} | settings).fit(module or Shifted(), Batches(batches))


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_row_says_everything_about_its_tokens(tmp_path: Path) -> None:
    fit(TokenLog(directory=str(tmp_path)), [batch_of("a≠", "longer one")])
    row, other = read(tmp_path / "iteration_000000.jsonl")
    assert row == {
        "iteration": 0,
        "optimizer_step": 0,
        "objective": {
            "class_path": "lit_rlvr.objectives.gppo.GPPO",
            "init_args": {"clip_low": 0.2, "clip_high": 0.28, "beta1": 0.5, "beta2": 1.0, "dual_clip": None},
        },
        "temperature": 0.6,
        "reward": 0.5,
        "is_correct": True,
        "prompt": PROMPT,
        "tokens": {
            "token_id": TOKENIZER("a≠")["input_ids"],
            "token": ["a", "", "", "≠"],
            "logprob": [-0.125, -0.375, -0.625, -0.875],
            "old_logprob": [-0.375, -0.625, -0.875, -1.125],
            "rollout_logprob": [-0.5, -0.75, -1.0, -1.25],
            "entropy": [1.5] * 4,
            "advantage": [0.75] * 4,
            "loss_weight": [pytest.approx(1 / 14)] * 4,
        },
    }
    assert ("".join(other["tokens"]["token"]), other["is_correct"]) == ("longer one", False)


def test_only_the_micro_batches_of_the_last_optimizer_step_are_written(tmp_path: Path) -> None:
    log = TokenLog(directory=str(tmp_path), every_n_iterations=2)
    batches = [batch_of(text) for text in ("first", "second", "third", "fourth")]
    fit(log, batches, accumulate_grad_batches=2, max_epochs=4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iteration_000000.jsonl", "iteration_000002.jsonl"]
    rows = read(tmp_path / "iteration_000002.jsonl")
    assert ["".join(row["tokens"]["token"]) for row in rows] == ["third", "fourth"]
    assert {(row["iteration"], row["optimizer_step"]) for row in rows} == {(2, 5)}


def test_rows_without_weight_are_left_out_and_may_leave_nothing(tmp_path: Path) -> None:
    batch = batch_of("kept", "filler")
    without = batch.loss_weights.clone()
    without[1] = 0
    fit(TokenLog(directory=str(tmp_path / "one")), [replace(batch, loss_weights=without)])
    assert ["".join(row["tokens"]["token"]) for row in read(tmp_path / "one" / "iteration_000000.jsonl")] == ["kept"]
    fit(TokenLog(directory=str(tmp_path / "none")), [replace(batch, loss_weights=torch.zeros_like(without))])
    assert not (tmp_path / "none").exists()


def test_numbers_that_json_cannot_hold_become_null(tmp_path: Path) -> None:
    batch = batch_of("ab")
    old = batch.old_logprobs.clone()
    old[0, -2:] = torch.tensor([-math.inf, math.nan])
    fit(TokenLog(directory=str(tmp_path)), [replace(batch, old_logprobs=old, rewards=torch.tensor([math.nan]))])
    (row,) = read(tmp_path / "iteration_000000.jsonl")
    assert (row["reward"], row["tokens"]["old_logprob"], row["tokens"]["logprob"]) == (None, [None, None], [None, None])


def test_importance_weights_are_part_of_the_loss_weight(tmp_path: Path) -> None:
    batch = batch_of("ab")
    fit(TokenLog(directory=str(tmp_path)), [replace(batch, rollout_weights=torch.full_like(batch.advantages, 0.5))])
    (row,) = read(tmp_path / "iteration_000000.jsonl")
    assert row["tokens"]["loss_weight"] == [0.25, 0.25]


def test_a_limit_keeps_completions_of_all_lengths(tmp_path: Path) -> None:
    batches = [batch_of(*("x" * n for n in range(start, start + 5))) for start in (1, 6)]
    fit(TokenLog(directory=str(tmp_path), max_completions=4), batches, accumulate_grad_batches=2)
    rows = read(tmp_path / "iteration_000000.jsonl")
    assert [len(row["tokens"]["token"]) for row in rows] == [1, 3, 6, 8]


def test_without_a_directory_it_writes_below_the_run_folder(tmp_path: Path) -> None:
    fit(TokenLog(), [batch_of("ab")], logger=CSVLogger(tmp_path, name="run"))
    assert len(read(tmp_path / "run" / "version_0" / "tokens" / "iteration_000000.jsonl")) == 1


def test_training_that_has_no_such_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="got a SFTBatch"):
        fit(TokenLog(directory=str(tmp_path)), [collate_sft([[1]], [[2]])], Shifted(returns_scores=False))
    with pytest.raises(TypeError, match="'logprobs'"):
        fit(TokenLog(directory=str(tmp_path)), [batch_of("ab")], Shifted(returns_scores=False))


@pytest.mark.parametrize("name", ["every_n_iterations", "max_completions"])
def test_settings_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be at least 1, got 0"):
        TokenLog(**{name: 0})


@dataclass(frozen=True)
class Unbounded(PolicyObjective):
    bounds: tuple[float, float] = (0.5, math.inf)
    inner: GRPO = field(default_factory=GRPO)

    def __call__(self, x: ObjectiveInputs) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return -x.ratio * x.advantages, {}


class Bare(PolicyObjective):
    def __call__(self, x: ObjectiveInputs) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return -x.logprobs, {}


def test_settings_of_any_objective_can_be_written() -> None:
    described = describe_objective(Unbounded())
    assert described["class_path"].endswith("test_token_log.Unbounded")
    assert json.loads(json.dumps(described, allow_nan=False))["init_args"] == {
        "bounds": [0.5, "inf"],
        "inner": {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": None},
    }
    assert describe_objective(Bare())["init_args"] == {}


class Completions(Callback):
    """Remembers what the engine generated for training, by its text with special tokens."""

    def __init__(self) -> None:
        self.texts: set[tuple[str, str]] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.tokenizer = trainer.datamodule.tokenizer  # type: ignore[attr-defined]
        trainer.datamodule.rollout_observers.append(self.remember)  # type: ignore[attr-defined]

    def remember(self, groups: list, iteration: int, stage: str) -> None:
        for rollout in (r for group in groups for r in group.rollouts):
            self.texts.add(
                tuple(self.tokenizer.decode(ids) for ids in (rollout.prompt.token_ids, rollout.completion.token_ids))
            )


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[list[dict], Completions]]:
    """One iteration with one micro-batch to a step, and the same with two."""
    results = []
    for accumulate in (1, 2):
        folder, seen = tmp_path_factory.mktemp("run"), Completions()
        callbacks = [TokenLog(directory=str(folder)), seen]
        trainer = make_trainer(max_epochs=1, accumulate_grad_batches=accumulate, callbacks=callbacks, limit_val_batches=0)
        trainer.fit(make_module(tiny_model), make_data(tiny_model))
        results.append((read(folder / "iteration_000000.jsonl"), seen))
    return results


def test_a_run_leaves_what_it_trained_on_last(runs: list[tuple[list[dict], Completions]]) -> None:
    rows, seen = runs[0]
    assert {(row["prompt"], "".join(row["tokens"]["token"])) for row in rows} <= seen.texts
    assert {row["optimizer_step"] for row in rows} == {3}  # two PPO epochs of two mini-batches
    columns = {
        name: torch.tensor([v for row in rows for v in row["tokens"][name]]) for name in rows[0]["tokens"] if name != "token"
    }
    assert columns["loss_weight"].sum() == pytest.approx(1)  # the whole step is there, and nothing else
    torch.testing.assert_close(columns["old_logprob"], columns["rollout_logprob"], atol=1e-3, rtol=0)
    assert (columns["logprob"] - columns["old_logprob"]).abs().max() > 0.01  # three updates away
    assert columns["entropy"].min() > 0


def test_micro_batches_do_not_change_the_log(runs: list[tuple[list[dict], Completions]]) -> None:
    def key(row: dict) -> tuple:
        return row["prompt"], row["tokens"]["token_id"], row["tokens"]["advantage"]

    one, two = (sorted(rows, key=key) for rows, _ in runs)
    assert len(one) > 8
    assert list(map(key, one)) == list(map(key, two))
    for a, b in zip(one, two, strict=True):
        for name in ("logprob", "old_logprob", "entropy", "loss_weight"):
            assert a["tokens"][name] == pytest.approx(b["tokens"][name], abs=1e-3)


def test_a_run_resumed_inside_an_iteration_leaves_the_same_log(tiny_model: Path, tmp_path: Path) -> None:
    def run(folder: Path, ckpt_path: Path | None = None) -> bytes:
        callbacks = [TokenLog(directory=str(folder)), ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)]
        layout = {"max_epochs": 1, "accumulate_grad_batches": 2, "enable_checkpointing": True, "limit_val_batches": 0}
        make_trainer(callbacks=callbacks, **layout).fit(make_module(tiny_model), make_data(tiny_model), ckpt_path=ckpt_path)
        return (folder / "iteration_000000.jsonl").read_bytes()

    straight = run(tmp_path / "straight")
    assert run(tmp_path / "resumed", tmp_path / "straight" / "step=3.ckpt") == straight
