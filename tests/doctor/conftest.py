"""The verb `doctor` on a small run, in this process."""

import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from lit_rlvr.cli.main import main

LINE = re.compile(r"^  (green|yellow|RED) +(\S.*?)  +", re.MULTILINE)


class Visit(NamedTuple):
    """What the doctor says."""

    code: int
    out: str
    err: str

    @property
    def states(self) -> dict[str, str]:
        """The state of each line by its name."""
        return {name: state for state, name in LINE.findall(self.out)}

    @property
    def red(self) -> list[str]:
        """Names of the red lines."""
        return [name for name, state in self.states.items() if state == "RED"]

    @property
    def words(self) -> str:
        """All that was printed, in one line."""
        return " ".join(self.out.split())


@pytest.fixture
def config(tiny_model: Path) -> dict[str, Any]:
    """The quickstart with a small untrained model."""
    addition = {"class_path": "lit_rlvr.tasks.AdditionPrompts", "init_args": {"num": 200}}
    return {
        "trainer": {"accelerator": "cpu", "max_epochs": 2, "accumulate_grad_batches": 2, "gradient_clip_val": 1.0},
        "model": {"init_args": {"policy": {"path": str(tiny_model)}}},
        "data": {
            "init_args": {
                "format": {"tokenizer": str(tiny_model)},
                "train": addition,
                "rewards": {"answer": {"class_path": "lit_rlvr.rewards.ExactAnswer"}},
                "sampling": {"max_tokens": 12},
                "iteration": {"num_prompts": 4, "group_size": 4},
            }
        },
    }


@pytest.fixture
def doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[dict[str, Any]], Visit]:
    """`doctor(config)` examines it from an empty folder."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)

    def call(config: dict[str, Any], *flags: str) -> Visit:
        Path("run.yaml").write_text(yaml.safe_dump(config))
        capsys.readouterr()
        code = main(["doctor", "-c", "run.yaml", *flags])
        return Visit(code, *capsys.readouterr())

    return call
