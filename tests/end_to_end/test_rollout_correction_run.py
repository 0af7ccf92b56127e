"""Importance weights for the engine's gap, in the whole loop: nothing to correct, a gap to correct, a resume in between."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

sys.path.insert(0, str(Path(__file__).parent))
from rl_run import flat_weights, make_data, make_module, make_trainer

from lit_rlvr.data import RolloutDataModule
from lit_rlvr.modules import PolicyConfig, RLModule
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout_correction import TruncatedImportanceSampling
from lit_rlvr.types import Completion, Prompt

NAMES = ("rollout/correction_mean", "rollout/correction_clipped", "rollout/correction_ess")


class OverconfidentEngine(EmbeddedEngine):
    """Samples as it should, but reports log-probs that are 0.5 too high."""

    def generate(
        self, prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]], stop_token_ids: Sequence[int]
    ) -> list[list[Completion]]:
        groups = super().generate(prompts, params, seeds, stop_token_ids)
        return [[replace(c, logprobs=tuple(logprob + 0.5 for logprob in c.logprobs)) for c in group] for group in groups]


def fit(
    module: RLModule, data: RolloutDataModule, ckpt_path: Path | None = None, callbacks: Sequence[Callback] = ()
) -> Trainer:
    trainer = make_trainer(max_epochs=1, limit_val_batches=0, callbacks=list(callbacks), enable_checkpointing=bool(callbacks))
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return trainer


def statistics(trainer: Trainer) -> list[float]:
    return [float(trainer.callback_metrics[name]) for name in NAMES]


def flat_weights_of_start(model: Path) -> torch.Tensor:
    module = make_module(model)
    make_trainer(max_steps=0).fit(module, make_data(model))
    return flat_weights(module)


def test_without_a_gap_the_correction_changes_nothing(tiny_model: Path) -> None:
    plain, corrected = make_module(tiny_model), make_module(tiny_model)
    before = flat_weights_of_start(tiny_model)
    assert not set(NAMES) & set(fit(plain, make_data(tiny_model)).callback_metrics)
    correction = TruncatedImportanceSampling("sequence", "mask", cap=1.1, floor=0.9)
    trainer = fit(corrected, make_data(tiny_model, rollout_correction=correction))
    # The embedded engine is the policy, but for the rounding of sums taken in another order.
    assert statistics(trainer) == pytest.approx([1.0, 0.0, 1.0], abs=1e-4)
    torch.testing.assert_close(flat_weights(corrected), flat_weights(plain), atol=1e-4, rtol=0)
    assert float((flat_weights(plain) - before).abs().max()) > 0.01


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        (TruncatedImportanceSampling(), [math.exp(-0.5), 0.0, 1.0]),
        (TruncatedImportanceSampling("geometric"), [math.exp(-0.5), 0.0, 1.0]),
        (TruncatedImportanceSampling(floor=0.75), [0.75, 1.0, 1.0]),
        (TruncatedImportanceSampling(mode="mask", floor=0.75), [0.0, 1.0, 0.0]),
    ],
)
def test_a_gap_is_in_the_metrics(tiny_model: Path, correction: TruncatedImportanceSampling, expected: list[float]) -> None:
    data = make_data(tiny_model, engine=OverconfidentEngine(), rollout_correction=correction)
    assert statistics(fit(make_module(tiny_model), data)) == pytest.approx(expected, abs=1e-4)


def test_masked_tokens_teach_nothing_and_the_books_still_balance(tiny_model: Path) -> None:
    def trained(correction: TruncatedImportanceSampling | None) -> torch.Tensor:
        adam = torch.optim.Adam
        module = RLModule(PolicyConfig(str(tiny_model)), optimizer=lambda parameters: adam(parameters, lr=1e-2))
        fit(module, make_data(tiny_model, engine=OverconfidentEngine(), rollout_correction=correction))
        return flat_weights(module)

    start = flat_weights_of_start(tiny_model)
    assert torch.equal(trained(TruncatedImportanceSampling(mode="mask", floor=0.75)), start)
    assert not torch.allclose(trained(None), start, atol=1e-3)


def test_a_resume_within_an_iteration_keeps_the_weights(tiny_model: Path, tmp_path: Path) -> None:
    """The products of 1 to 8 ratios of e^-0.5 differ between responses: lost weights would show."""

    def settings() -> dict[str, object]:
        return {"engine": OverconfidentEngine(), "rollout_correction": TruncatedImportanceSampling("sequence")}

    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    whole, resumed, uncorrected = (make_module(tiny_model) for _ in range(3))
    trainer = fit(whole, make_data(tiny_model, **settings()), callbacks=[saver])
    assert 0 < statistics(trainer)[2] < 1
    fit(resumed, make_data(tiny_model, **settings()), ckpt_path=tmp_path / "step=2.ckpt")
    assert torch.equal(flat_weights(resumed), flat_weights(whole))
    fit(uncorrected, make_data(tiny_model, engine=OverconfidentEngine()))
    assert not torch.allclose(flat_weights(uncorrected), flat_weights(whole), atol=1e-3)
