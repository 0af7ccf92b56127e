"""A run, its recording, and its replay: the same weights without an engine; another objective on the same experience."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

sys.path.insert(0, str(Path(__file__).parent))
from rl_run import ShareOfDigits, flat_weights, make_data, make_module, make_trainer

from lit_rlvr.callbacks import ReplayLog
from lit_rlvr.data import IterationConfig, PromptFormat, RolloutDataModule
from lit_rlvr.objectives import CISPO, PolicyObjective
from lit_rlvr.rewards import RewardFunction
from lit_rlvr.rollout import EmbeddedEngine, ReplayEngine, SamplingParams
from lit_rlvr.rollout.filters import ZeroAdvantageFilter
from lit_rlvr.rollout_gap import GapBounds, RolloutGapError
from lit_rlvr.tasks import AdditionPrompts
from lit_rlvr.types import Completion, Prompt, RolloutGroup

UNBOUNDED = GapBounds(warn=None, stop=None)


class History(Logger):
    """The metrics of each iteration, without what a clock measures."""

    name = "history"
    version = 0

    def __init__(self) -> None:
        super().__init__()
        self.iterations: dict[float, dict[str, float]] = {}

    def log_hyperparams(self, params: object = None) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        timeless = {name: value for name, value in metrics.items() if "time" not in name and "second" not in name}
        self.iterations.setdefault(metrics["epoch"], {}).update(timeless)


class NoGeneration(EmbeddedEngine):
    """Fails where it is asked to generate."""

    def generate(self, *args: Any, **kwargs: Any) -> list[list[Completion]]:
        raise AssertionError("an engine was used")


def trained(
    model: Path,
    engine: Any = None,
    objective: PolicyObjective | None = None,
    iterations: int = 3,
    callbacks: list[Callback] | None = None,
    **settings: Any,
) -> tuple[torch.Tensor, list[dict[str, float]], list[RolloutGroup]]:
    """Weights, metrics by iteration, and all groups of a run."""
    module, history = make_module(model, objective), History()
    data = make_data(model, engine=engine, **settings)
    groups: list[RolloutGroup] = []
    data.rollout_observers.append(lambda found, iteration, stage: groups.extend(found))
    make_trainer(max_epochs=iterations, limit_val_batches=0, logger=history, callbacks=callbacks).fit(module, data)
    return flat_weights(module), list(history.iterations.values()), groups


@pytest.fixture(scope="module")
def recording(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tuple[torch.Tensor, Any, Any]]:
    directory = str(tmp_path_factory.mktemp("recorded") / "replay")
    return directory, trained(tiny_model, callbacks=[ReplayLog(directory)])


def test_a_replay_is_the_run_bit_for_bit(tiny_model: Path, recording: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, (weights, history, groups) = recording
    monkeypatch.setattr(EmbeddedEngine, "generate", NoGeneration.generate)
    replayed_weights, replayed_history, replayed_groups = trained(tiny_model, ReplayEngine(directory))
    assert torch.equal(replayed_weights, weights)
    assert len(history) == 3
    assert replayed_history == history
    assert replayed_groups == groups
    assert {r.completion.weight_version for group in groups for r in group.rollouts} == {0, 4, 8}


def test_a_run_with_the_log_is_the_run_without_it(tiny_model: Path, recording: Any) -> None:
    weights, history, _ = trained(tiny_model)
    assert torch.equal(weights, recording[1][0])
    assert history == recording[1][1]


def test_the_embedded_engine_agrees_with_the_policy(recording: Any) -> None:
    gaps = [metrics["rollout/gap_exp"] for metrics in recording[1][1]]
    assert all(1 <= gap < 1.0001 for gap in gaps)
    for metrics in recording[1][1]:
        assert metrics["rollout/gap_mean"] == pytest.approx(metrics["train/rollout_gap"], rel=1e-6)


def test_another_objective_learns_from_the_same_experience(tiny_model: Path, recording: Any) -> None:
    directory, (weights, history, groups) = recording
    other, other_history, replayed = trained(tiny_model, ReplayEngine(directory), CISPO(), gap_bounds=UNBOUNDED)
    assert [r.completion for group in replayed for r in group.rollouts] == [r.completion for g in groups for r in g.rollouts]
    assert not torch.equal(other, weights)
    # The first iteration starts from the very weights that sampled it; after that each policy goes its own way.
    first, *later = [metrics["rollout/gap_exp"] for metrics in other_history]
    assert first == history[0]["rollout/gap_exp"]
    assert all(gap > 1.001 for gap in later)


def test_a_policy_that_has_gone_too_far_is_stopped(tiny_model: Path, recording: Any) -> None:
    with pytest.raises(RolloutGapError, match=r"data\.gap_bounds\.stop"):
        trained(tiny_model, ReplayEngine(recording[0]), CISPO(), gap_bounds=GapBounds(warn=None, stop=1.001))


class Halved(RewardFunction):
    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        return ShareOfDigits()(prompt, completion) / 2


def test_completions_are_judged_again(tiny_model: Path, recording: Any) -> None:
    _, history, groups = trained(tiny_model, ReplayEngine(recording[0]), reward=Halved(), gap_bounds=UNBOUNDED)
    assert [metrics["rollout/reward"] * 2 for metrics in history[:1]] == pytest.approx([recording[1][1][0]["rollout/reward"]])
    assert groups[0].rollouts[0].reward == recording[1][2][0].rollouts[0].reward / 2


def test_a_resumed_replay_ends_where_the_run_did(tiny_model: Path, recording: Any, tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    first = make_trainer(max_epochs=2, limit_val_batches=0, callbacks=[saver], enable_checkpointing=True)
    first.fit(make_module(tiny_model), make_data(tiny_model, engine=ReplayEngine(recording[0])))
    module = make_module(tiny_model)
    data = make_data(tiny_model, engine=ReplayEngine(recording[0]))
    make_trainer(max_epochs=3, limit_val_batches=0).fit(module, data, ckpt_path=tmp_path / "step=6.ckpt")
    assert torch.equal(flat_weights(module), recording[1][0])


def filtered(
    model: Path, engine: Any = None, callbacks: list[Callback] | None = None
) -> tuple[torch.Tensor, list[dict[str, float]]]:
    """A run that draws until enough groups pass, from so few problems that some are drawn twice in an iteration."""
    data = RolloutDataModule(
        PromptFormat(str(model)),
        AdditionPrompts("train", num=5),
        {"digits": ShareOfDigits()},
        filters=[ZeroAdvantageFilter()],
        engine=engine,
        sampling=SamplingParams(max_tokens=2),
        iteration=IterationConfig(num_prompts=6, group_size=2, max_rounds=5),
    )
    module, history = make_module(model), History()
    make_trainer(max_epochs=2, logger=history, callbacks=callbacks).fit(module, data)
    return flat_weights(module), list(history.iterations.values())


def test_rounds_of_a_filter_are_replayed(tiny_model: Path, tmp_path: Path) -> None:
    weights, history = filtered(tiny_model, callbacks=[ReplayLog(str(tmp_path))])
    assert history[0]["rollout/rounds"] > 1
    again, again_history = filtered(tiny_model, ReplayEngine(str(tmp_path)))
    assert torch.equal(again, weights)
    assert again_history == history


MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"seed": 1}, LookupError, r"data\.seed"),
    ({"num_prompts": 7}, LookupError, "num_prompts"),
    ({"iterations": 4}, LookupError, "3 iterations of"),
]


@pytest.mark.parametrize(("changes", "error", "words"), MISTAKES)
def test_a_run_that_asks_for_something_else_is_told_so(
    tiny_model: Path, recording: Any, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        trained(tiny_model, ReplayEngine(recording[0]), **changes)


def test_validation_is_not_in_a_recording(tiny_model: Path, recording: Any) -> None:
    with pytest.raises(LookupError, match=r"data\.val must be null"):
        make_trainer(max_epochs=1).fit(make_module(tiny_model), make_data(tiny_model, engine=ReplayEngine(recording[0])))
