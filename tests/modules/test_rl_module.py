"""What RLModule refuses: objectives that reduce, gradients that are not finite, terms that do nothing."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.callbacks import WeightSync
from lit_rlvr.modules import LossTerm, PolicyConfig, PolicyScores, RLModule
from lit_rlvr.modules.rl import objective_inputs, weighted_sum
from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.types import RolloutBatch

sys.path.insert(0, str(Path(__file__).parents[1] / "end_to_end"))
from rl_run import flat_weights, make_data, make_module, make_trainer


class Reduces(PolicyObjective):
    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        return (x.ratio * x.advantages).mean(), {}


class ReturnsTheLossOnly(PolicyObjective):
    def __call__(self, x: ObjectiveInputs) -> Tensor:
        return x.ratio


@dataclass(frozen=True)
class Broken(PolicyObjective):
    """Gives a NaN loss from the third optimizer step on."""

    steps: list[int]

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        self.steps.append(1)
        return x.ratio * (torch.nan if len(self.steps) > 3 else 1.0), {}  # the first call only asks for the statistics


@pytest.mark.parametrize(("objective", "message"), [(Reduces(), "must not reduce"), (ReturnsTheLossOnly(), "must return")])
def test_an_objective_of_the_wrong_shape_is_refused_at_once(objective: PolicyObjective, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        RLModule(PolicyConfig("anywhere"), objective)


def test_a_token_without_weight_cannot_contribute() -> None:
    loss = torch.tensor([[1.0, torch.nan, torch.inf]], requires_grad=True)
    total = weighted_sum(loss, torch.tensor([[0.5, 0.0, 0.0]]))
    total.backward()
    assert float(total) == 0.5
    assert loss.grad is not None
    assert loss.grad.tolist() == [[0.5, 0.0, 0.0]]


def test_steps_with_a_nan_gradient_are_skipped_then_stop_the_run(tiny_model: Path) -> None:
    module = make_module(tiny_model, Broken([]), max_skipped_steps=3)
    seen: list[torch.Tensor] = []
    module.on_train_batch_end = lambda *args: seen.append(flat_weights(module))
    with (
        pytest.warns(UserWarning, match="gradient norm is nan; the step is skipped"),
        pytest.raises(FloatingPointError, match="as were the 3 before it: stopping"),
    ):
        make_trainer(max_epochs=4).fit(module, make_data(tiny_model))
    assert not torch.equal(seen[0], seen[1])
    assert torch.isfinite(seen[-1]).all()
    assert all(torch.equal(weights, seen[2]) for weights in seen[3:]), "a skipped step leaves the weights as they are"


def test_a_batch_that_was_never_scored_is_refused(tiny_model: Path) -> None:
    data = make_data(tiny_model)
    module = make_module(tiny_model)
    trainer = make_trainer(max_epochs=1, limit_train_batches=1)
    trainer.fit(module, data)
    assert data._current is not None
    batch = replace(data._current.batch, old_logprobs=None)
    with pytest.raises(ValueError, match="no old_logprobs"):
        objective_inputs(module.policy(batch.input_ids, batch.attention_mask, batch.loss_mask), batch)


class Silent(LossTerm):
    name = "silent"
    coefficient = 0.1

    def __call__(self, scores: PolicyScores, batch: RolloutBatch) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(scores.logprobs), batch.loss_weights


def test_a_term_that_contributes_nothing_is_reported(tiny_model: Path) -> None:
    module = RLModule(PolicyConfig(str(tiny_model)), terms=[Silent()], optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
    with pytest.warns(UserWarning, match="Silent has coefficient 0.1 but contributed exactly 0 in the last 10 iterations"):
        make_trainer(max_epochs=10, limit_val_batches=0).fit(module, make_data(tiny_model))


def test_the_sync_callback_asks_for_a_datamodule_that_generates(tiny_model: Path) -> None:
    module = make_module(tiny_model)
    trainer = make_trainer(max_epochs=1)
    with pytest.raises(TypeError, match="needs a DataModule that generates rollouts"):
        trainer.fit(module, torch.utils.data.DataLoader([1, 2]))
    assert sum(isinstance(callback, WeightSync) for callback in trainer.callbacks) == 1
