"""The rollout log: rows, file names, atomic replacement, URLs."""

import json
import math
import os
import uuid

import fsspec
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from lit_rlvr.callbacks import rollout_log
from lit_rlvr.callbacks.rollout_log import RolloutLog
from lit_rlvr.types import Completion, LogprobSemantics, Prompt, Rollout, RolloutGroup, Verdict


def group(name="p0", logprobs=(-0.5, -1.5), reward: float | None = 1.0, text="4 ≠ 5\n"):
    prompt = Prompt(id=name, messages=({"role": "user", "content": "2+2?"},), answer="4", source="sums")
    completion = Completion(
        tuple(range(len(logprobs))),
        logprobs,
        "stop",
        weight_version=7,
        text=text,
        semantics=LogprobSemantics(0.7, top_k=20),
        token_versions=(7,) * (len(logprobs) - 1) + (9,) if logprobs else (),
        seed=2**62 + 1,
    )
    verdicts = {"exact": Verdict(reward, "extracted 4"), "broken": Verdict(None, "timed out")}
    right = Rollout(prompt, completion, reward, is_correct=True, verdicts=verdicts, advantage=0.5)
    wrong = Rollout(prompt, Completion((1,), (-2.0,), "length", text="no"), 0.0, is_correct=False, advantage=-0.5)
    return RolloutGroup(prompt, (right, wrong))


def read(path):
    with fsspec.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(params=["local", "memory"])
def directory(request, tmp_path):
    return str(tmp_path / "log") if request.param == "local" else f"memory://{uuid.uuid4().hex}/log"


def test_a_row_says_everything_about_a_completion(directory):
    RolloutLog(directory=directory).log_groups([group("p0"), group("p1")], 12, "train")
    rows = read(f"{directory}/iteration_000012.jsonl")
    assert [(row["prompt_id"], row["member"]) for row in rows] == [("p0", 0), ("p0", 1), ("p1", 0), ("p1", 1)]
    assert rows[0] == {
        "iteration": 12,
        "prompt_id": "p0",
        "source": "sums",
        "messages": [{"role": "user", "content": "2+2?"}],
        "answer": "4",
        "member": 0,
        "text": "4 ≠ 5\n",
        "num_tokens": 2,
        "finish_reason": "stop",
        "reward": 1.0,
        "is_correct": True,
        "verdicts": {
            "exact": {"score": 1.0, "detail": "extracted 4"},
            "broken": {"score": None, "detail": "timed out"},
        },
        "advantage": 0.5,
        "logprobs": {"mean": -1.0, "min": -1.5, "sum": -2.0},
        "semantics": {"temperature": 0.7, "top_p": 1.0, "top_k": 20, "is_processed": True},
        "seed": 2**62 + 1,
        "weight_version": 7,
        "newest_weight_version": 9,
    }
    assert (rows[1]["weight_version"], rows[1]["newest_weight_version"]) == (-1, -1)
    assert (rows[1]["finish_reason"], rows[1]["is_correct"], rows[1]["num_tokens"]) == ("length", False, 1)


def test_numbers_that_json_cannot_hold_become_null(directory):
    strange = group(logprobs=(-math.inf, -1.0), reward=math.nan, text="broken \ud800 surrogate")
    RolloutLog(directory=directory).log_groups([strange, group(logprobs=())], 0, "train")
    rows = read(f"{directory}/iteration_000000.jsonl")
    assert rows[0]["reward"] is None
    assert rows[0]["logprobs"] == {"mean": None, "min": None, "sum": None}
    assert rows[0]["text"] == "broken \ud800 surrogate"
    assert rows[2]["logprobs"] == {"mean": None, "min": None, "sum": 0.0}


def test_calls_of_one_iteration_share_a_file_and_stages_do_not(directory):
    log = RolloutLog(directory=directory)
    log.log_groups([group("a")], 0, "train")
    log.log_groups([group("v")], 0, "validation")
    log.log_groups([group("b")], 0, "train")
    log.log_groups([group("c")], 1, "train")
    names = {name: [row["prompt_id"] for row in read(f"{directory}/{name}.jsonl")][::2] for name in files(directory)}
    assert names == {"iteration_000000": ["a", "b"], "iteration_000001": ["c"], "validation_000000": ["v"]}


def files(directory):
    filesystem, path = fsspec.core.url_to_fs(directory)
    return sorted(os.path.basename(p).removesuffix(".jsonl") for p in filesystem.ls(path, detail=False))


def test_a_resumed_iteration_replaces_its_file(directory):
    RolloutLog(directory=directory).log_groups([group("old"), group("old2")], 3, "train")
    RolloutLog(directory=directory).log_groups([group("new")], 3, "train")
    assert [row["prompt_id"] for row in read(f"{directory}/iteration_000003.jsonl")] == ["new", "new"]


def test_iterations_can_be_skipped_but_not_validations(directory):
    log = RolloutLog(every_n_iterations=3, directory=directory)
    for iteration in range(5):
        log.log_groups([group()], iteration, "train")
    log.log_groups([group()], 1, "validation")
    assert files(directory) == ["iteration_000000", "iteration_000003", "validation_000001"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    log = RolloutLog(directory=str(tmp_path))
    log.log_groups([group("old")], 0, "train")
    before = (tmp_path / "iteration_000000.jsonl").read_bytes()
    (tmp_path / "blocked.jsonl").mkdir()
    with pytest.raises(OSError, match="blocked"):
        rollout_log.write_whole(str(tmp_path / "blocked.jsonl"), b"content")
    assert (tmp_path / "iteration_000000.jsonl").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blocked.jsonl", "iteration_000000.jsonl"]


def test_every_n_iterations_must_be_positive():
    with pytest.raises(ValueError, match="got 0"):
        RolloutLog(every_n_iterations=0)


def test_without_a_directory_it_needs_a_trainer():
    with pytest.raises(ValueError, match="no directory"):
        RolloutLog().log_groups([group()], 0, "train")


class Rollouts(LightningDataModule):
    def __init__(self):
        super().__init__()
        self.rollout_observers = []

    def train_dataloader(self):
        for observer in self.rollout_observers:
            observer([group()], 0, "train")
        return torch.utils.data.DataLoader([0.0, 1.0])


class Nothing(LightningModule):
    def training_step(self, batch, batch_idx):
        return None

    def configure_optimizers(self):
        return None


def test_in_a_trainer_it_writes_below_the_run_folder(tmp_path):
    log = RolloutLog()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=CSVLogger(tmp_path, name="run"),
        callbacks=[log],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = Rollouts()
    trainer.fit(Nothing(), data)
    assert data.rollout_observers == [log.log_groups]
    assert len(read(f"{tmp_path}/run/version_0/rollouts/iteration_000000.jsonl")) == 2
