"""The closing table and result.json."""

import io
import json
import math

import pytest
from rich.console import Console

from lit_rlvr.metrics import Estimate
from lit_rlvr.report import print_summary, read_result, write_result

BEFORE = {"avg@8": Estimate(0.125, 0.1, 0.15), "pass@8": Estimate(0.5, 0.4, 0.6), "greedy": Estimate(0.1, 0.05, 0.2)}
AFTER = {"avg@8": Estimate(0.75, 0.7, 0.8), "pass@8": Estimate(1.0, 0.9, 1.0), "greedy": Estimate(0.8, 0.7, 0.9)}


def test_result_has_exactly_its_shape(tmp_path):
    path = write_result(tmp_path / "new" / "result.json", BEFORE, AFTER, {"rollout": 12.5, "train": 3.0}, seed=0)
    assert json.loads(path.read_text()) == {
        "before": {
            "avg@8": {"value": 0.125, "low": 0.1, "high": 0.15},
            "pass@8": {"value": 0.5, "low": 0.4, "high": 0.6},
            "greedy": {"value": 0.1, "low": 0.05, "high": 0.2},
        },
        "after": {
            "avg@8": {"value": 0.75, "low": 0.7, "high": 0.8},
            "pass@8": {"value": 1.0, "low": 0.9, "high": 1.0},
            "greedy": {"value": 0.8, "low": 0.7, "high": 0.9},
        },
        "seconds": {"rollout": 12.5, "train": 3.0},
        "seed": 0,
    }
    assert read_result(path) == (BEFORE, AFTER)
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_a_result_is_never_half_written(tmp_path):
    path = write_result(tmp_path / "result.json", BEFORE, AFTER, {}, seed=0)
    content = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_result(path, {"avg@8": Estimate(math.nan, 0.0, 1.0)}, AFTER, {}, seed=0)
    assert path.read_bytes() == content


def test_summary_shows_values_intervals_and_changes():
    output = io.StringIO()
    print_summary(BEFORE, AFTER | {"extra": Estimate(0.5, 0.4, 0.6)}, {"rollout": 12.5}, Console(file=output, width=100))
    lines = output.getvalue().splitlines()
    row = next(line for line in lines if "avg@8" in line)
    assert row.split("│")[2:5] == [" 12.5 [10.0, 15.0] ", " 75.0 [70.0, 80.0] ".rjust(len(row.split("│")[3])), "  +62.5 "]
    assert any("rollout" in line and "12.5" in line for line in lines)
    assert any("extra" in line for line in lines)
