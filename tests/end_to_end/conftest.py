"""Runs of the real command line, in this process, and what they leave behind."""

import csv
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from lit_rlvr.cli import main

Part = dict[str, Any] | Path | str
"""A layer of configuration (a dictionary, or a file), or a flag."""


@dataclass(frozen=True)
class Run:
    """A finished command: its exit code, its messages, and its folder."""

    code: int
    err: str
    folder: Path

    def history(self, name: str, version: int = -1) -> list[float]:
        """The values of a metric, in the order of the iterations."""
        with open(self.log_dir(version) / "metrics.csv") as file:
            return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]

    def columns(self) -> set[str]:
        with open(self.log_dir() / "metrics.csv") as file:
            return set(next(csv.reader(file)))

    def log_dir(self, version: int = -1) -> Path:
        """The logger's folder of one start of the run, the last by default."""
        return sorted((self.folder / "logs").iterdir())[version]

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder / "model" / "model.safetensors")


class CommandLine:
    """Calls `lit-rlvr`, each time in a new folder unless one is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = count()

    def __call__(self, verb: str, subcommand: str, *parts: Part, root: Path | None = None) -> Run:
        """Run and expect success."""
        arguments, root = self._arguments(parts, root)
        code = main([verb, subcommand, *arguments])
        assert code == 0
        return Run(code, "", root)

    def _arguments(self, parts: tuple[Part, ...], root: Path | None) -> tuple[list[str], Path]:
        root = root or self.folder / f"run{next(self._numbers)}"
        arguments = []
        for part in parts:
            if isinstance(part, dict):
                file = self.folder / f"layer{next(self._numbers)}.yaml"
                file.write_text(yaml.safe_dump(part))
                arguments += ["-c", str(file)]
            else:
                arguments += ["-c", str(part)] if isinstance(part, Path) else [part]
        return [*arguments, f"--trainer.default_root_dir={root}"], root

    def failure(self, verb: str, subcommand: str, *parts: Part, root: Path, capsys: pytest.CaptureFixture[str]) -> str:
        """Run and expect a failure; return what the user is told about it."""
        arguments, _ = self._arguments(parts, root)
        capsys.readouterr()
        try:
            code = main([verb, subcommand, *arguments])
        except Exception as error:
            return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
        assert code != 0
        return capsys.readouterr().err


@pytest.fixture(scope="session", autouse=True)
def _quiet_logging() -> Iterator[None]:
    """Lightning's log handler keeps the stderr of the first test, and the command line extends `sys.path`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging, "raiseExceptions", False)
        patch.setattr(sys, "path", [*sys.path])
        yield


@pytest.fixture(scope="session")
def command_line() -> type[CommandLine]:
    """`command_line(folder)` is a `lit_rlvr` for fixtures that live longer than a test."""
    return CommandLine


@pytest.fixture
def lit_rlvr(tmp_path: Path) -> CommandLine:
    """`lit_rlvr("rl", "fit", {...}, "--flag=1")` runs and expects success."""
    return CommandLine(tmp_path)


@pytest.fixture
def failure(lit_rlvr: CommandLine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`failure("rl", "fit", ...)`: the message of a run that must fail, in the folder `failed` unless `root` names one."""

    def call(verb: str, subcommand: str, *parts: Part, root: Path = tmp_path / "failed") -> str:
        return lit_rlvr.failure(verb, subcommand, *parts, root=root, capsys=capsys)

    return call


QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


@pytest.fixture(scope="session")
def small_rl(tiny_model: Path) -> dict[str, Any]:
    """Two iterations of a random model on additions, paid for digits: it earns different rewards from the start."""
    addition = {"class_path": "lit_rlvr.tasks.AdditionPrompts", "init_args": {"split": "train", "num": 24}}
    return {
        "trainer": {**QUIET, "max_epochs": 2, "gradient_clip_val": 1.0, "enable_checkpointing": False},
        "model": {
            "init_args": {
                "policy": {"path": str(tiny_model)},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 3e-3, "weight_decay": 0.0}},
            }
        },
        "data": {
            "init_args": {
                "format": {"tokenizer": str(tiny_model)},
                "train": addition,
                "rewards": {"digits": {"class_path": "reward_cases.EnoughDigits"}},
                "sampling": {"max_tokens": 10},
                "iteration": {"num_prompts": 6, "group_size": 6, "num_mini_batches": 2},
            }
        },
    }


@pytest.fixture(scope="session")
def start_weights(tiny_model: Path) -> dict[str, torch.Tensor]:
    return load_file(tiny_model / "model.safetensors")
