"""Token logs read back: what comes out, and what a damaged file says."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_rlvr.report.token_records import read_tokens


def row(**changes: Any) -> dict[str, Any]:
    tokens = {
        "token_id": [7, 8],
        "token": ["4", "\u2028"],
        "logprob": [-0.5, None],
        "old_logprob": [-0.25, -1.0],
        "rollout_logprob": [-0.25, -1],
        "entropy": [0.5, 0.25],
        "advantage": [1.5, 1.5],
        "loss_weight": [0.125, 0.125],
    }
    facts = {
        "iteration": 12,
        "optimizer_step": 99,
        "objective": {"class_path": "lit_rlvr.objectives.grpo.GRPO", "init_args": {}},
        "temperature": 1,
        "reward": None,
        "is_correct": True,
        "prompt": "2+2=",
        "tokens": tokens,
    }
    return facts | changes


def without(*path: str) -> dict[str, Any]:
    changed = row()
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return changed


def with_column(name: str, values: Any) -> dict[str, Any]:
    return row(tokens=row()["tokens"] | {name: values})


def write(path: Path, *rows: Any, end: str = "\n") -> Path:
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + end, encoding="utf-8")
    return path


def test_a_record_is_what_was_written(tmp_path: Path) -> None:
    first, second = read_tokens(write(tmp_path / "log.jsonl", row(), row(reward=1.0)))
    assert (first.iteration, first.optimizer_step, first.reward, second.reward) == (12, 99, None, 1.0)
    assert (first.token_id, first.token) == ((7, 8), ("4", "\u2028"))
    assert first.logprob[0] == -0.5
    assert math.isnan(first.logprob[1])
    assert first.rollout_logprob.dtype == torch.float64


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (without("prompt"), "no column 'prompt'.*TokenLog"),
        (without("tokens", "entropy"), "no column 'tokens.entropy'"),
        (with_column("entropy", [0.5]), r"tokens.entropy has 1 entries, tokens.token_id has 2"),
        (with_column("token", [1, 2]), r"tokens.token' must hold str, got 1"),
        (with_column("logprob", [-0.5, "-1"]), r"tokens.logprob' must hold int or float or null, got '-1'"),
        (with_column("logprob", None), r"tokens.logprob' must be a list, got None"),
        (row(is_correct="yes"), r"'is_correct' must be bool, got 'yes'"),
        ([1], "expected an object, got list"),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, changed: Any, message: str) -> None:
    path = write(tmp_path / "log.jsonl", row(), changed, row())
    with pytest.raises(ValueError, match=rf"log\.jsonl, line 2: .*{message}"):
        read_tokens(path)


def test_a_half_written_last_line_is_told_from_nonsense(tmp_path: Path) -> None:
    whole = write(tmp_path / "log.jsonl", row(), row()).read_text(encoding="utf-8")
    path = tmp_path / "cut.jsonl"
    path.write_text(whole[:-40], encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: the last line is cut off"):
        read_tokens(path)
    path.write_text(f"nonsense\n{whole}", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1: not JSON"):
        read_tokens(path)


def test_a_file_needs_no_last_line_break(tmp_path: Path) -> None:
    assert len(read_tokens(write(tmp_path / "log.jsonl", row(), row(), end=""))) == 2


def test_what_is_no_file_with_completions(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no token log at"):
        read_tokens(tmp_path / "missing.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match="holds no completions"):
        read_tokens(tmp_path / "empty.jsonl")
    write(tmp_path / "iteration_000003.jsonl", row())
    with pytest.raises(ValueError, match=r"is a folder: .*iteration_000003\.jsonl"):
        read_tokens(tmp_path)
