"""A resumed supervised run is the run, at the end of an epoch and inside one."""

from typing import Any

import pytest
import torch


@pytest.fixture
def settings(small_rl, tiny_model, tmp_path) -> dict[str, Any]:
    """Three epochs of four optimizer steps, the last of each smaller; a checkpoint after every step."""
    keep = {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {"dirpath": str(tmp_path / "kept"), "filename": "{step}", "save_top_k": -1, "every_n_train_steps": 1},
    }
    source = {"class_path": "lit_rlvr.tasks.AdditionConversations", "init_args": {"split": "train", "num": 20}}
    trainer = {"accelerator": "cpu", "max_epochs": 3, "accumulate_grad_batches": 2, "enable_progress_bar": False}
    data = {"format": {"tokenizer": str(tiny_model)}, "train": source, "batch_size": 6}
    return {"trainer": trainer | {"callbacks": [keep]}, "model": small_rl["model"], "data": {"init_args": data}}


def test_resumed_weights_and_losses_are_those_of_the_straight_run(lit_rlvr, settings, tmp_path):
    straight = lit_rlvr("sft", "fit", settings)
    losses = straight.history("train/loss")
    for step, epochs_left in ((3, 3), (4, 2), (7, 2)):
        resumed = lit_rlvr("sft", "fit", settings, f"--ckpt_path={tmp_path}/kept/step={step}.ckpt")
        assert all(torch.equal(weight, straight.weights()[name]) for name, weight in resumed.weights().items())
        assert resumed.history("train/loss") == losses[-epochs_left:]
