"""The `tiny` verb, run from an empty directory."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from lit_rlvr.cli.main import VERBS, Verb, main

BASE = """
model:
  init_args:
    policy: {path: somewhere}
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: 1
  logger: false
  enable_checkpointing: false
  enable_progress_bar: false
  enable_model_summary: false
"""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def config(self) -> Any:
        """The printed configuration."""
        assert self.code == 0, self.err
        return yaml.safe_load(self.out)


@pytest.fixture
def lit_rlvr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`lit_rlvr("tiny", "fit", ...)` from `tmp_path`, which holds `base.yaml`."""
    monkeypatch.setattr(logging, "raiseExceptions", False)  # Lightning's log handler keeps the stderr of the first test
    monkeypatch.setitem(VERBS, "tiny", Verb("a verb of the tests", "tiny_verb:run"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)

    def call(*args: str) -> Outcome:
        capsys.readouterr()
        code = main(args)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def resolve(lit_rlvr: Callable[..., Outcome]) -> Callable[..., Any]:
    """`resolve("-c", "base.yaml", ...)`: the resolved configuration of `lit-rlvr tiny fit`, as --print_config shows it."""
    return lambda *args: lit_rlvr("tiny", "fit", *args, "--print_config").config
