"""What the DataModule tells its engine, and what it refuses."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch import Trainer

sys.path.insert(0, str(Path(__file__).parents[1] / "end_to_end"))
from rl_run import make_data, make_module, make_trainer

from lit_rlvr.data.asynchronous import AsyncConfig
from lit_rlvr.data.iteration_collector import iterations_left
from lit_rlvr.data.settings import EvaluationConfig
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout_gap import GapBounds, RolloutGapError


class Sleeper(EmbeddedEngine):
    """Puts its weights away when it may, and cannot generate before it is given them again."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def update_weights(self, policy, version) -> None:
        super().update_weights(policy, version)
        self.events.append(f"update {version}")

    def release_memory(self) -> None:
        self.weight_version = -1
        self.events.append("release")


def test_the_engine_may_sleep_while_the_policy_is_trained(tiny_model: Path) -> None:
    engine = Sleeper()
    data = make_data(tiny_model, engine=engine, evaluation=EvaluationConfig(group_size=2, batch_prompts=2))
    make_trainer(max_epochs=2, check_val_every_n_epoch=1).fit(make_module(tiny_model), data)
    # Three chunks of held-out problems after each iteration of four optimizer steps: one update for them all.
    one = ["update 0", "release", "update 4", "release"]
    assert engine.events == [*one, "update 4", "release", "update 8", "release"]


def test_an_engine_without_weights_of_its_own_cannot_generate_during_training(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.asynchronous\.max_staleness=1 needs an engine with weights of its own"):
        make_data(tiny_model, asynchronous=AsyncConfig(1))


def test_another_process_group_than_the_trainers_is_refused(tiny_model: Path) -> None:
    data = make_data(tiny_model)
    data.trainer = SimpleNamespace(global_rank=0, world_size=2)
    with pytest.raises(RuntimeError, match="the Trainer has 2 processes, but torch's process group of this one has 1"):
        data.setup("fit")


def test_a_gap_beyond_its_bound_stops_before_training(tiny_model: Path) -> None:
    class Liar(EmbeddedEngine):
        """Says that it has taken the weights over, but keeps the first."""

        def update_weights(self, policy, version) -> None:
            if self.weight_version < 0:
                super().update_weights(policy, version)
            self.weight_version = version

    module = make_module(tiny_model)
    data = make_data(tiny_model, engine=Liar(device="cpu"), gap_bounds=GapBounds(None, 1.05))
    trainer = make_trainer(max_epochs=3, limit_val_batches=0)
    with pytest.raises(RolloutGapError, match=r"data\.gap_bounds\.stop=1\.05"):
        trainer.fit(module, data)
    assert trainer.global_step == 4


class InTheThirdIteration(Trainer):
    """Before the first of its four optimizer steps."""

    current_epoch = 2
    global_step = 8


@pytest.mark.parametrize(
    ("epochs", "steps", "left"),
    [(5, -1, 2), (-1, -1, float("inf")), (5, 12, 0), (5, 13, 1), (100, 18, 2), (3, 100, 0), (-1, 17, 2)],
)
def test_iterations_left_are_what_epochs_and_steps_allow(epochs: int, steps: int, left: float) -> None:
    trainer = InTheThirdIteration(max_epochs=epochs, max_steps=steps, accelerator="cpu", logger=False)
    assert iterations_left(trainer, 4) == left
