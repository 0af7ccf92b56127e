"""The code quickstart through the command line: what the policy writes is run in the sandbox, and pays by what it prints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lit_rlvr.cli import main

QUICKSTART = Path(__file__).parents[2] / "configs/quickstart"
DAPO = QUICKSTART.parent / "objective/dapo.yaml"
FEW = 8
"""So few problems that their demonstrations are soon known by heart, the careless ones too."""


def programs(kind: str, **settings: Any) -> dict[str, Any]:
    return {"class_path": f"lit_rlvr.tasks.Program{kind}", "init_args": {"split": "train", "num": FEW, "seed": 3} | settings}


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory, command_line: Callable) -> Path:
    """A model that has learned the demonstrations of a few problems, half of them without a branch for the last case."""
    folder = tmp_path_factory.mktemp("demonstrated")
    base = str(folder / "base")
    assert main(["make-model", base, "--config", str(QUICKSTART / "code_model.yaml")]) == 0
    shorter = {
        "trainer": {"max_epochs": 60, "accumulate_grad_batches": 1, "enable_progress_bar": False},
        "model": {"init_args": {"policy": {"path": base}, "lr_scheduler": {"init_args": {"total_steps": 60}}}},
        "data": {
            "init_args": {
                "train": programs("Conversations", lazy_share=0.5, slip_rate=0.0),
                "val": None,
                "batch_size": FEW,
            }
        },
    }
    return command_line(folder)("sft", "fit", QUICKSTART / "code_sft.yaml", shorter).folder / "model"


def few_iterations(policy: Path) -> dict[str, Any]:
    return {
        "trainer": {"max_epochs": 2, "check_val_every_n_epoch": 2, "enable_progress_bar": False},
        "model": {"init_args": {"policy": {"path": str(policy)}}},
        "data": {
            "init_args": {
                "train": programs("Prompts"),
                "val": programs("Prompts"),
                "test": None,
                "filters": [],
                "iteration": {"num_prompts": FEW, "group_size": 4},
                "evaluation": {"group_size": 4, "greedy": False},
            }
        },
    }


def rollouts(run: Any, name: str) -> list[dict[str, Any]]:
    text = (run.log_dir() / "rollouts" / name).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_the_same_programs_are_run_and_paid_softly_or_hard(lit_rlvr: Callable, demonstrated: Path) -> None:
    runs = {
        arm: lit_rlvr(
            "rl", "fit", QUICKSTART / "code_rl.yaml", DAPO, QUICKSTART / f"code_{arm}.yaml", few_iterations(demonstrated)
        )
        for arm in ("soft", "hard")
    }
    soft, hard = (rollouts(run, "iteration_000000.jsonl") for run in runs.values())
    assert [row["text"] for row in soft] == [row["text"] for row in hard]  # nothing has been learned yet
    assert len(soft) == 4 * FEW
    assert all(row["verdicts"]["tests"]["score"] is not None for row in soft + hard)  # every program was judged
    passed = [row["verdicts"]["tests"]["detail"] for row in soft if "of 6 tests passed" in row["verdicts"]["tests"]["detail"]]
    assert len(passed) > 2 * FEW
    # By heart: the whole program of some problems, and the first two cases of others.
    assert sum(row["reward"] == 1 for row in soft) >= 4
    assert sum(0 < row["reward"] < 1 for row in soft) >= 4
    for ours, theirs in zip(soft, hard, strict=True):
        assert ours["is_correct"] == theirs["is_correct"] == (ours["reward"] == 1)
        assert theirs["reward"] == float(ours["is_correct"])
        if 0 < ours["reward"] < 1:
            assert f"{round(6 * ours['reward'])} of 6 tests passed" in ours["verdicts"]["tests"]["detail"]
    start = load_file(demonstrated / "model.safetensors")
    for run in runs.values():
        assert len(run.history("val/avg@4")) == 1
        assert run.history("train/rollout_gap_max")[0] < 1e-3
        assert any(not torch.equal(weight, start[name]) for name, weight in run.weights().items())
    first, second = (run.weights() for run in runs.values())
    assert any(not torch.equal(weight, second[name]) for name, weight in first.items())  # other rewards, other gradients
