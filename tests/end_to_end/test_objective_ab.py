"""The comparison of objectives on recorded rollouts: it runs, its recorder is repeated exactly, and the others differ as they should."""

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def objective_ab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script; what it silences for itself is heard again afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    with warnings.catch_warnings():
        yield import_module("objective_ab")
    logger.setLevel(level)


def test_four_objectives_on_the_same_rollouts(objective_ab: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = objective_ab.compare(tmp_path, seed=0, iterations=2)
    assert list(numbers) == ["GRPO", "GPPO", "CISPO", "ASPO"]
    assert (numbers["GRPO"]["from recorder %"], numbers["GRPO"]["moved %"] > 0) == (0, True)
    others = [numbers[name] for name in ("GPPO", "CISPO", "ASPO")]
    assert all(found["from recorder %"] > 0.01 and found["off-policy at the end"] > 1.001 for found in others)
    assert numbers["GRPO"]["off-policy at the end"] == pytest.approx(1, abs=1e-3)
    # GRPO and ASPO silence clipped tokens; GPPO and CISPO leave only those without an advantage.
    assert numbers["GRPO"]["no gradient %"] > numbers["CISPO"]["no gradient %"] == numbers["GPPO"]["no gradient %"]
    assert json.loads((tmp_path / "result.json").read_text()) == numbers
    assert (tmp_path / "objective_ab.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    for words in ("ended with exactly the weights of the recorded run", "off-policyness", "gradient norm"):
        assert words in said


def test_the_script_explains_itself() -> None:
    command = [sys.executable, str(EXAMPLES / "objective_ab.py"), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--iterations" in result.stdout
