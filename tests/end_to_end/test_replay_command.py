"""Recording and replaying from the command line, and the replay of a run whose timing cannot be repeated."""

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from rl_run import flat_weights, make_data, make_module, make_trainer

from lit_rlvr.callbacks import ReplayLog
from lit_rlvr.data.asynchronous import AsyncConfig
from lit_rlvr.rollout import EmbeddedEngine, ReplayEngine
from lit_rlvr.rollout_gap import GapBounds

RECORDING = {"trainer": {"callbacks": [{"class_path": "lit_rlvr.callbacks.ReplayLog"}]}}
FOLDER = "logs/version_0/replay"


def replaying(directory: Path | str) -> dict[str, Any]:
    return {
        "data": {
            "init_args": {"engine": {"class_path": "lit_rlvr.rollout.ReplayEngine", "init_args": {"directory": str(directory)}}}
        }
    }


@pytest.fixture(scope="module")
def recorded(command_line: Any, small_rl: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return command_line(tmp_path_factory.mktemp("recorded"))("rl", "fit", small_rl, RECORDING)


def test_a_run_is_repeated_from_its_recording(lit_rlvr: Callable[..., Any], small_rl: dict[str, Any], recorded: Any) -> None:
    again = lit_rlvr("rl", "fit", small_rl, replaying(recorded.folder / FOLDER))
    assert {name: w.tolist() for name, w in again.weights().items()} == {n: w.tolist() for n, w in recorded.weights().items()}
    for name in ("rollout/reward", "rollout/gap_exp", "train/entropy", "train/grad_norm"):
        assert again.history(name) == recorded.history(name) != []


def test_another_objective_may_go_as_far_as_its_bounds(
    lit_rlvr: Callable[..., Any], failure: Callable[..., str], small_rl: dict[str, Any], recorded: Any
) -> None:
    other = {"model": {"init_args": {"objective": {"class_path": "lit_rlvr.objectives.ASPO"}}}}
    fast = "--model.init_args.optimizer.init_args.lr=0.05"
    parts = (small_rl, replaying(recorded.folder / FOLDER), other, fast)
    message = failure("rl", "fit", *parts, "--data.init_args.gap_bounds={warn: null, stop: 1.01}")
    assert "above data.gap_bounds.stop=1.01" in message
    free = lit_rlvr("rl", "fit", *parts, "--data.init_args.gap_bounds={warn: null, stop: null}")
    first, second = free.history("rollout/gap_exp")
    assert first == recorded.history("rollout/gap_exp")[0]
    assert second > 1.01


def test_mistakes_are_explained(failure: Callable[..., str], small_rl: dict[str, Any], recorded: Any, tmp_path: Path) -> None:
    replay = replaying(recorded.folder / FOLDER)
    assert "engine.directory='nowhere' is not a directory" in failure("rl", "fit", small_rl, replaying("nowhere"))
    assert "that prompt is in none. A replay asks" in failure("rl", "fit", small_rl, replay, "--data.init_args.seed=5")
    assert "temperature=1.0" in failure("rl", "fit", small_rl, replay, "--data.init_args.sampling.temperature=0.5")
    (tmp_path / "iteration_000000.jsonl.gz").write_bytes(b"nothing of the kind")
    assert "is damaged after line 0" in failure("rl", "fit", small_rl, replaying(tmp_path))


def versions(directory: Path) -> list[set[int]]:
    """Which versions of the weights wrote the tokens of each iteration."""
    files = [gzip.decompress(path.read_bytes()).splitlines() for path in sorted(directory.iterdir())]
    rows = [[json.loads(line) for line in lines] for lines in files]
    return [{v for row in lines for v in row["token_versions"] or [row["weight_version"]]} for lines in rows]


def test_an_asynchronous_run_is_repeated_without_its_timing(tiny_model: Path, tmp_path: Path) -> None:
    """Which weights wrote a token depends on the clock; what was written is in the recording."""
    runs = []
    for engine, asynchronous in (
        (EmbeddedEngine(device="cpu"), AsyncConfig(max_staleness=2, partial_rollouts=True)),
        (None, AsyncConfig()),
    ):
        module = make_module(tiny_model)
        log = [] if engine is None else [ReplayLog(str(tmp_path))]
        settings = {"asynchronous": asynchronous, "gap_bounds": GapBounds(warn=None, stop=None)}
        data = make_data(tiny_model, engine=engine or ReplayEngine(str(tmp_path)), **settings)
        make_trainer(max_epochs=3, limit_val_batches=0, callbacks=log).fit(module, data)
        runs.append(flat_weights(module))
    assert torch.equal(runs[1], runs[0])
    # The last iteration starts at version 8: it was written earlier, at least in part.
    assert min(versions(tmp_path)[2]) < 8
