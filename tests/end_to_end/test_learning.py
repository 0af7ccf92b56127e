"""Rewards teach: a model that can work an addition out, but mostly does not, learns to."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from learning_configs import demonstrations, learning

from lit_rlvr.tasks.tiny_model import make_model

CONFIGS = Path(__file__).parents[2] / "configs"
OBJECTIVES = ("dapo", "gppo", "cispo", "aspo", "no_is")


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory, command_line: Callable) -> Path:
    """A tiny model after the quickstart's supervised start, shortened: half of its demonstrations were terse."""
    folder = tmp_path_factory.mktemp("demonstrated")
    make_model(str(folder / "base"))
    run = command_line(folder)("sft", "fit", CONFIGS / "quickstart/sft.yaml", demonstrations(folder / "base"))
    return run.folder / "model"


@pytest.fixture(scope="module")
def accuracy_before(demonstrated: Path, tmp_path_factory: pytest.TempPathFactory, command_line: Callable) -> float:
    run = command_line(tmp_path_factory.mktemp("before"))
    rl = CONFIGS / "quickstart/rl.yaml"
    return run("rl", "validate", rl, learning(demonstrated)).history("val/avg@8")[0]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_accuracy_rises(lit_rlvr: Callable, demonstrated: Path, accuracy_before: float, name: str) -> None:
    overlay = CONFIGS / f"objective/{name}.yaml"
    run = lit_rlvr("rl", "fit", CONFIGS / "quickstart/rl.yaml", overlay, learning(demonstrated))
    (after,) = run.history("val/avg@8")
    assert 0.1 < accuracy_before < 0.5  # neither hopeless nor solved
    assert after > accuracy_before + 0.1
    # It learned to think: a terse answer has 5 tokens, a worked one more than 20.
    lengths = run.history("rollout/length")
    assert lengths[-1] > lengths[0] + 2
    assert max(run.history("train/rollout_gap_max")) < 1e-3


ESTIMATORS = ("GroupRelative", "DrGRPO", "LeaveOneOut")
REDUCTIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "constant")


def assert_trained(run: Any, start: dict[str, torch.Tensor]) -> None:
    norms = run.history("train/grad_norm")
    assert len(norms) == 2
    assert all(math.isfinite(norm) and norm > 0 for norm in norms)
    weights = run.weights()
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    assert all(not torch.equal(weights[name], start[name]) for name in start)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_advantage_estimator_trains(lit_rlvr: Callable, small_rl: dict, start_weights: dict, estimator: str) -> None:
    run = lit_rlvr("rl", "fit", small_rl, f"--data.init_args.advantages=lit_rlvr.advantages.{estimator}")
    assert_trained(run, start_weights)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_reduction_trains(lit_rlvr: Callable, small_rl: dict, start_weights: dict, reduction: str) -> None:
    iteration = {"reduction": reduction, "divisor": 180.0 if reduction == "constant" else None}
    run = lit_rlvr("rl", "fit", small_rl, {"data": {"init_args": {"iteration": iteration}}})
    assert_trained(run, start_weights)
