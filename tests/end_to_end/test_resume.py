"""A resumed run is the run: bit for bit on the CPU, at iteration boundaries and inside an iteration."""

import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

sys.path.insert(0, str(Path(__file__).parent))
from rl_run import flat_weights, make_data, make_module, make_trainer


class Recorder:
    """Remembers the tokens of every rollout."""

    def __init__(self) -> None:
        self.tokens: list[tuple[int, ...]] = []

    def __call__(self, groups: list, iteration: int, stage: str) -> None:
        self.tokens += [r.completion.token_ids for g in groups for r in g.rollouts if stage == "train"]


def fit(model: Path, folder: Path, ckpt_path: str | None = None, **settings: object) -> tuple[torch.Tensor, dict, Recorder]:
    saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = make_trainer(
        max_epochs=3,
        accumulate_grad_batches=2,
        callbacks=[saver],
        enable_checkpointing=True,
        check_val_every_n_epoch=1,
        **settings,
    )
    module, data, recorder = make_module(model), make_data(model), Recorder()
    data.rollout_observers.append(recorder)
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return flat_weights(module), dict(trainer.callback_metrics), recorder


@pytest.fixture(scope="module")
def straight(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder = tmp_path_factory.mktemp("straight")
    return folder, *fit(tiny_model, folder)


@pytest.mark.parametrize("step", [1, 3, 4, 6, 8, 11])
def test_resuming_at_any_optimizer_step_continues_bit_for_bit(
    tiny_model: Path, tmp_path: Path, straight: tuple, step: int
) -> None:
    folder, weights, metrics, recorder = straight
    resumed, resumed_metrics, resumed_recorder = fit(tiny_model, tmp_path, ckpt_path=str(folder / f"step={step}.ckpt"))
    assert torch.equal(resumed, weights)
    tail = len(resumed_recorder.tokens)
    assert resumed_recorder.tokens == (recorder.tokens[-tail:] if tail else [])
    assert {k: float(v) for k, v in resumed_metrics.items()} == {k: float(v) for k, v in metrics.items()}
