"""The replay log: which files it writes, and when."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from lit_rlvr.callbacks import ReplayLog
from lit_rlvr.rollout.replay import hash_of_tokens
from lit_rlvr.types import Completion, Prompt, Rollout, RolloutGroup


def group(*seeds: int) -> RolloutGroup:
    prompt = Prompt("p0", ({"role": "user", "content": "?"},), token_ids=(5, 6), answer="4")
    completions = [Completion((7, 8), (-0.1, -1 / 3), "length", 12, "text ≠", seed=seed) for seed in seeds]
    return RolloutGroup(prompt, tuple(Rollout(prompt, c, 1.0, is_correct=True, advantage=0.5) for c in completions))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def test_a_row_holds_what_training_needs_and_no_more(tmp_path: Path) -> None:
    ReplayLog(str(tmp_path)).log_groups([group(2**62 + 1, 4)], 12, "train")
    first, second = rows(tmp_path / "iteration_000012.jsonl.gz")
    assert first == {
        "iteration": 12,
        "prompt_id": "p0",
        "prompt_hash": hash_of_tokens((5, 6)),
        "seed": 2**62 + 1,
        "finish_reason": "length",
        "weight_version": 12,
        "token_versions": [],
        "semantics": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "is_processed": True},
        "token_ids": [7, 8],
        "logprobs": [-0.1, -1 / 3],
    }
    assert second == {**first, "seed": 4}


def test_hashes_tell_token_sequences_apart() -> None:
    assert len({hash_of_tokens(tokens) for tokens in ((), (1,), (1, 2), (12,), (2, 1), (1, 2, 0))}) == 6


def test_only_training_rollouts_are_stored(tmp_path: Path) -> None:
    log = ReplayLog(str(tmp_path))
    log.log_groups([group(1)], 0, "validation")
    log.log_groups([group(2)], 1, "train")
    assert os.listdir(tmp_path) == ["iteration_000001.jsonl.gz"]


def test_the_same_rollouts_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ReplayLog(str(tmp_path / name)).log_groups([group(1, 2)], 0, "train")
    first, second = ((tmp_path / name / "iteration_000000.jsonl.gz").read_bytes() for name in ("a", "b"))
    assert first == second
    # Bytes 4 to 8 of a gzip file are a time stamp: two writes within a second would agree by luck.
    assert first[4:8] == bytes(4)


def test_one_recording_holds_one_run(tmp_path: Path) -> None:
    first, second = ReplayLog(str(tmp_path)), ReplayLog(str(tmp_path))
    for iteration in range(4):
        first.log_groups([group(iteration)], iteration, "train")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match=r"removed 2 recorded iterations after iteration_000001\.jsonl\.gz"):
        second.log_groups([group(9)], 1, "train")
    assert sorted(os.listdir(tmp_path)) == ["iteration_000000.jsonl.gz", "iteration_000001.jsonl.gz", "notes.txt"]
    # Only the start of a run removes: an iteration that is written again afterwards leaves the others alone.
    second.log_groups([group(9)], 2, "train")
    second.log_groups([group(9)], 1, "train")
    assert len(os.listdir(tmp_path)) == 4


def test_a_completion_without_a_seed_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prompt 'p0' has no seed"):
        ReplayLog(str(tmp_path)).log_groups([group(1, -1)], 0, "train")
    assert not os.listdir(tmp_path)


def test_without_a_directory_it_needs_a_trainer() -> None:
    with pytest.raises(ValueError, match="no directory"):
        ReplayLog().log_groups([group(1)], 0, "train")


class Rollouts(LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.rollout_observers: list[Callable[..., None]] = []


class SecondRank(Trainer):
    is_global_zero = False


def observers_of(log: ReplayLog, folder: Path, kind: type[Trainer] = Trainer, setups: int = 1) -> list[Callable[..., None]]:
    """What a DataModule was asked to call."""
    trainer = kind(
        accelerator="cpu", default_root_dir=folder, logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.datamodule = data = Rollouts()
    for _ in range(setups):
        log.setup(trainer, LightningModule(), "fit")
    return data.rollout_observers


def test_it_writes_below_the_run_folder_and_observes_once(tmp_path: Path) -> None:
    (observer,) = observers_of(ReplayLog(), tmp_path, setups=2)
    observer([group(1)], 0, "train")
    assert (tmp_path / "replay" / "iteration_000000.jsonl.gz").exists()


def test_only_one_rank_writes(tmp_path: Path) -> None:
    (observer,) = observers_of(ReplayLog(), tmp_path, SecondRank)
    observer([group(1)], 0, "train")
    assert not os.listdir(tmp_path)


def test_without_rollouts_it_refuses(tmp_path: Path) -> None:
    trainer = Trainer(accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_checkpointing=False)
    with pytest.raises(ValueError, match="nothing to record"):
        ReplayLog().setup(trainer, LightningModule(), "fit")
