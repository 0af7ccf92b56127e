"""What a run leaves behind about itself."""

import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger

from lit_rlvr.callbacks.git_state import git_state
from lit_rlvr.callbacks.run_record import RunRecord, write_record


class Recorded(SimpleNamespace):
    config: Any
    environment: Any
    directory: Path


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`record(...)`: run a Trainer method with the callback, and return what it wrote."""
    monkeypatch.chdir(tmp_path)
    parser = LightningArgumentParser()
    parser.add_argument("--seed_everything", type=int, default=3)
    parser.add_argument("--learning_rate", type=float, default=0.1)

    def run(method: str = "fit", prefix: str = "", command: tuple[str, ...] = ("lit-rlvr", "rl", "fit", "--x=a b")) -> Recorded:
        callback = RunRecord(parser, parser.parse_args([]), command=command)
        model: LightningModule = BoringModel()
        trainer = Trainer(
            default_root_dir=str(tmp_path / "run"),
            accelerator="cpu",
            max_steps=1,
            limit_val_batches=1,
            logger=False,
            callbacks=[callback],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        getattr(trainer, method)(model)
        files = tmp_path / "run"
        return Recorded(
            config=yaml.safe_load((files / f"{prefix}config.yaml").read_text()),
            environment=json.loads((files / f"{prefix}environment.json").read_text()),
            directory=files,
        )

    return run


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-b", "trunk")
    (root / "code.py").write_text("x = 1\n")
    git(root, "add", "code.py")
    git(root, "commit", "-m", "first")
    return root


def test_configuration_and_environment_are_written(record, tmp_path):
    run = record()
    assert run.config == {"seed_everything": 3, "learning_rate": 0.1}
    environment = run.environment
    assert environment["command"] == "lit-rlvr rl fit '--x=a b'"
    assert environment["directory"] == str(tmp_path)
    assert environment["seed"] == 3
    assert environment["start_time"].endswith("+00:00")
    assert environment["packages"]["lightning"] == version("lightning")
    assert environment["torch"]["version"] == torch.__version__
    assert environment["torch"]["num_threads"] == torch.get_num_threads()
    assert environment["torch"]["accelerator"] == "CPUAccelerator"
    assert environment["torch"]["world_size"] == 1
    assert environment["earlier"] == []


def test_only_named_variables_are_recorded(record, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "do not write this down")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = record()
    assert run.environment["variables"]["OMP_NUM_THREADS"] == "1"
    assert "do not write this down" not in (run.directory / "environment.json").read_text()


def test_missing_git_does_not_matter(record, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert record().environment["git"] == {"directory": None, "lit_rlvr": None}


def test_directory_without_repository(record):
    assert record().environment["git"]["directory"] is None


def test_a_second_start_keeps_the_first_record(record):
    record(command=("first",))
    record(command=("second",))
    environment = record(command=("third",)).environment
    assert environment["command"] == "third"
    assert [earlier["command"] for earlier in environment["earlier"]] == ["first", "second"]
    assert all("earlier" not in earlier for earlier in environment["earlier"])


def test_evaluation_leaves_the_record_of_the_training_alone(record):
    trained = record(command=("train",))
    evaluated = record("validate", prefix="validate_", command=("evaluate",))
    assert evaluated.environment["command"] == "evaluate"
    assert json.loads((trained.directory / "environment.json").read_text()) == trained.environment


def test_record_goes_to_the_directory_of_the_logger(tmp_path):
    parser = LightningArgumentParser()
    logger = CSVLogger(str(tmp_path), name="runs", version="one")
    callback = RunRecord(parser, parser.parse_args([]))
    Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=logger,
        callbacks=[callback],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    ).fit(BoringModel())
    assert {"config.yaml", "environment.json"} <= {path.name for path in (tmp_path / "runs" / "one").iterdir()}


def test_record_can_be_written_to_a_url():
    write_record("memory://bucket/run/environment.json", {"command": "one"})
    write_record("memory://bucket/run/environment.json", {"command": "two"})
    with fsspec.open("memory://bucket/run/environment.json") as file:
        assert json.load(file) == {"command": "two", "earlier": [{"command": "one"}]}


def test_git_state_of_a_clean_repository(repository):
    state = git_state(str(repository))
    assert state is not None
    assert Path(state["root"]).samefile(repository)
    assert len(state["commit"]) == 40
    assert (state["branch"], state["has_changes"], state["changes_hash"]) == ("trunk", False, None)


def test_git_state_names_the_changes(repository):
    (repository / "code.py").write_text("x = 2\n")
    changed = git_state(str(repository))
    (repository / "code.py").write_text("x = 3\n")
    changed_otherwise = git_state(str(repository))
    assert changed is not None
    assert changed_otherwise is not None
    assert changed["has_changes"]
    assert changed["changes_hash"] != changed_otherwise["changes_hash"]
    (repository / "code.py").write_text("x = 2\n")
    assert git_state(str(repository)) == changed


def test_git_state_sees_source_files_not_yet_added(repository):
    (repository / "data.bin").write_bytes(b"0")
    assert git_state(str(repository))["changes_hash"] is None
    (repository / "own_objective.py").write_text("y = 1\n")
    one = git_state(str(repository))["changes_hash"]
    (repository / "own_objective.py").write_text("y = 2\n")
    assert one is not None
    assert git_state(str(repository))["changes_hash"] not in (None, one)


def test_git_state_from_a_directory_below(repository):
    (repository / "below").mkdir()
    (repository / "above.py").write_text("new\n")
    assert git_state(str(repository / "below")) == git_state(str(repository))
