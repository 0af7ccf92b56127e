"""The examples of an own objective and an own reward, trained from YAML alone."""

from pathlib import Path

import pytest
import torch
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"

OWN = """
model:
  init_args:
    objective:
      class_path: custom_objective.SoftClip
      init_args: {sharpness: 2.0}
data:
  init_args:
    rewards:
      digits: {class_path: reward_cases.EnoughDigits}
      brevity:
        class_path: custom_reward.Brevity
        init_args: {free_tokens: 2}
    reward_weights: {brevity: 0.5}
    accuracy: digits
"""


def test_own_objective_and_reward_train_from_yaml(lit_rlvr, small_rl, start_weights, tmp_path, monkeypatch):
    """Started where the files lie, as a user would: the command line finds classes in the working directory."""
    monkeypatch.chdir(EXAMPLES)
    (tmp_path / "own.yaml").write_text(OWN)
    run = lit_rlvr("rl", "fit", small_rl, tmp_path / "own.yaml")
    assert all(0 < share <= 1 for share in run.history("train/gradient_left"))
    assert all(0 < score < 1 for score in run.history("reward/brevity"))
    reward, digits, brevity = (run.history(name)[0] for name in ("rollout/reward", "reward/digits", "reward/brevity"))
    assert reward == pytest.approx(digits + 0.5 * brevity, abs=1e-6)
    assert any(not torch.equal(weight, start_weights[name]) for name, weight in run.weights().items())
    recorded = yaml.safe_load((run.log_dir() / "config.yaml").read_text())["model"]["init_args"]["objective"]
    assert recorded == {"class_path": "custom_objective.SoftClip", "init_args": {"sharpness": 2.0}}


def test_own_objective_has_the_gradient_it_documents(monkeypatch):
    """`w = 4 r s (1 - s)` with `s = sigmoid(k (r - 1))`: 1 on policy; at r = 2, k = 4 it is 8 / (e^4 + 2 + e^-4)."""
    monkeypatch.syspath_prepend(EXAMPLES)
    from custom_objective import SoftClip

    from lit_rlvr.objectives import ObjectiveInputs

    old = torch.tensor([[-2.0, -2.0]])
    logprobs = (old + torch.tensor([[0.0, 2.0]]).clamp(min=1).log()).requires_grad_()
    advantages = torch.tensor([[1.0, -1.0]])
    loss, _ = SoftClip(4.0)(ObjectiveInputs(logprobs, old, advantages, torch.ones(1, 2, dtype=torch.bool)))
    loss.sum().backward()
    weight = 8 / (torch.e**4 + 2 + torch.e**-4)
    torch.testing.assert_close(logprobs.grad, torch.tensor([[-1.0, weight]]))
