"""Rollouts during training, through the real Trainer: the same prompts, honest staleness, and a policy that learns."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

sys.path.insert(0, str(Path(__file__).parent))
from async_run import History, Told, run

from lit_rlvr.data.asynchronous import AsyncConfig
from lit_rlvr.rollout.embedded import EmbeddedEngine

SCRIPT = Path(__file__).parent / "async_run.py"
STEPS = 4
"""Optimizer steps of an iteration."""


@pytest.fixture(scope="module")
def synchronous(tiny_model: Path) -> tuple[torch.Tensor, Told]:
    return run(tiny_model, AsyncConfig(), engine=EmbeddedEngine())


def test_a_bound_of_zero_is_the_synchronous_run_bit_for_bit(tiny_model: Path, synchronous: tuple[torch.Tensor, Told]) -> None:
    weights, told = run(tiny_model, AsyncConfig(max_staleness=0))
    assert torch.equal(weights, synchronous[0])
    assert told.tokens == synchronous[1].tokens


@pytest.mark.parametrize("asynchronous", [AsyncConfig(1), AsyncConfig(1, True), AsyncConfig(2, True)])
def test_training_ahead(tiny_model: Path, synchronous: tuple[torch.Tensor, Told], asynchronous: AsyncConfig) -> None:
    names = [f"rollout/staleness_{name}" for name in ("mean", "max", "iterations")]
    history = History(*names, "rollout/gap_exp")
    weights, told = run(tiny_model, asynchronous, callbacks=[history])
    assert told.prompts == synchronous[1].prompts
    assert list(told.prompts) == list(synchronous[1].prompts)  # observers hear of them in order
    assert told.threads == {"MainThread"}
    assert told.tokens["train", 0] == synchronous[1].tokens["train", 0]
    assert told.tokens["train", 2] != synchronous[1].tokens["train", 2]
    assert not torch.equal(weights, synchronous[0])
    first, *later = history.rows
    assert [first[name] for name in names] == [0, 0, 0]
    for row in later:
        assert 1 <= row["rollout/staleness_iterations"] <= asynchronous.max_staleness
        assert 0 < row["rollout/staleness_mean"] <= row["rollout/staleness_max"] <= STEPS * asynchronous.max_staleness
        assert row["rollout/gap_exp"] > 1.01  # the policy has moved on since
    assert first["rollout/gap_exp"] < 1.001


@pytest.mark.parametrize("step", [STEPS, 6])
def test_resuming_repeats_no_prompt_and_loses_none(
    tiny_model: Path, tmp_path: Path, synchronous: tuple[torch.Tensor, Told], step: int
) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    run(tiny_model, AsyncConfig(1), callbacks=[saver], enable_checkpointing=True)
    _, told = run(tiny_model, AsyncConfig(1), ckpt_path=str(tmp_path / f"step={step}.ckpt"))
    everything = {key: ids for key, ids in synchronous[1].prompts.items() if key[0] == "train"}
    begun = -(-step // STEPS)
    assert {key: ids for key, ids in told.prompts.items() if key[0] == "train"} == {
        key: ids for key, ids in everything.items() if key[1] >= begun
    }


class Stop(Callback):
    """Ends the run in the middle of an iteration, in one way or another."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == 6:
            if self.error is not None:
                raise self.error
            trainer.should_stop = True


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("elsewhere"), None])
def test_an_early_end_leaves_no_thread(tiny_model: Path, error: BaseException | None) -> None:
    if error is None:
        run(tiny_model, AsyncConfig(1), callbacks=[Stop(error)])
    else:
        with pytest.raises(SystemExit if isinstance(error, KeyboardInterrupt) else ZeroDivisionError):
            run(tiny_model, AsyncConfig(1), callbacks=[Stop(error)])
    assert "rollouts" not in [thread.name for thread in threading.enumerate()]


def test_two_ranks_collect_what_one_does(tiny_model: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tiny_model), str(tmp_path / "two.pt"), "2", "1,2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    weights, told = run(tiny_model, AsyncConfig(1))
    assert two[1]["tokens"] == told.tokens
    torch.testing.assert_close(two[1]["weights"], weights, atol=2e-5, rtol=0)
    assert [row["rollout/staleness_max"] for row in two[1]["history"]] == [0, STEPS, STEPS, STEPS]
    # Here a token's version depends on who was when how far, but not which prompts there are.
    assert two[2]["tokens"].keys() == told.tokens.keys()
    assert two[2]["tokens"]["train", 0] == told.tokens["train", 0]
    assert all(row["rollout/staleness_max"] > 0 for row in two[2]["history"][1:])


def test_a_policy_learns_from_rollouts_one_iteration_old(tiny_model: Path) -> None:
    history = History("rollout/reward", "rollout/staleness_max")
    run(tiny_model, AsyncConfig(1), callbacks=[history], max_epochs=20, check_val_every_n_epoch=100)
    rewards = [row["rollout/reward"] for row in history.rows]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.2
    assert all(row["rollout/staleness_max"] == STEPS for row in history.rows[1:])
