"""What the code demo makes of two evaluations: the difference between the rewards, problem by problem."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def demo_code(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return import_module("demo_code")


@pytest.fixture
def evaluation(tmp_path: Path) -> Callable[[str, dict[str, list[int]]], Path]:
    """`evaluation(name, {problem: [1, 0]})`: the folder of an evaluation with these samples."""

    def write(name: str, samples: dict[str, list[int]]) -> Path:
        rollouts = tmp_path / name / "logs/version_0/rollouts"
        rollouts.mkdir(parents=True)
        rows = [{"prompt_id": p, "is_correct": bool(right)} for p, found in samples.items() for right in found]
        (rollouts / "test_000000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    return write


def test_the_difference_is_that_of_each_problem_with_itself(demo_code: Any, evaluation: Callable) -> None:
    # Problems differ much from each other, the rewards by 0.25 in each problem: the interval is that of a constant, and holds it.
    soft = evaluation("soft", {f"{p}": [1] * (p % 4 + 1) + [0] * (3 - p % 4) for p in range(80)})
    hard = evaluation("hard", {f"{p}": [0] * (4 - p % 4) + [1] * (p % 4) for p in reversed(range(80))})
    assert demo_code.shares(soft)["2"] == 0.75
    found = demo_code.advantage(soft, hard)
    assert found.value == pytest.approx(0.25)
    assert found.low <= 0.25 <= found.high
    reverse = demo_code.advantage(hard, soft)
    assert reverse.value == pytest.approx(-0.25)


def test_a_difference_by_chance_has_zero_in_its_interval(demo_code: Any, evaluation: Callable) -> None:
    soft = evaluation("soft", {f"{p}": [1, p % 2] for p in range(40)})
    hard = evaluation("hard", {f"{p}": [1, (p + 1) % 2] for p in range(40)})
    found = demo_code.advantage(soft, hard)
    assert found.value == pytest.approx(0.0)
    assert -0.2 < found.low < 0 < found.high < 0.2


def test_the_script_explains_itself() -> None:
    command = [sys.executable, str(EXAMPLES / "demo_code.py"), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--seed" in result.stdout
