"""Log-probs of given tokens, without a batch: those of the model's own logits, in the trainer's precision."""

from functools import partial
from pathlib import Path

import pytest
import torch

from lit_rlvr.modules import Policy, PolicyConfig

PROMPTS = [[5, 6, 7], [12], [3, 4, 5, 6, 7, 8], [9, 1]]
COMPLETIONS = [[8, 9, 10, 11], [6, 7], [2], []]


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_they_are_those_of_the_models_logits(tiny_model: Path, temperature: float, is_packed: bool) -> None:
    policy = Policy(PolicyConfig(str(tiny_model), chunk_size=3, pack_sequences=is_packed)).train()
    found = policy.token_logprobs(PROMPTS, COMPLETIONS, temperature)
    assert [len(row) for row in found] == [4, 2, 1, 0]
    for prompt, completion, row in zip(PROMPTS[:3], COMPLETIONS[:3], found[:3], strict=True):
        with torch.no_grad():
            logits = policy.model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        expected = (logits / temperature).log_softmax(-1).gather(1, torch.tensor(completion)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(row), expected, atol=1e-5, rtol=0)


def test_nothing_is_left_behind(tiny_model: Path) -> None:
    policy = Policy(PolicyConfig(str(tiny_model))).train()
    policy.model.model.layers[0].eval()
    training, state = [module.training for module in policy.modules()], torch.get_rng_state()
    policy.token_logprobs(PROMPTS, COMPLETIONS, 1.0)
    assert [module.training for module in policy.modules()] == training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_they_are_computed_in_the_trainers_precision(tiny_model: Path) -> None:
    policy = Policy(PolicyConfig(str(tiny_model)))
    full = policy.token_logprobs(PROMPTS, COMPLETIONS, 1.0)
    policy.forward_context = partial(torch.autocast, "cpu", torch.bfloat16)
    half = policy.token_logprobs(PROMPTS, COMPLETIONS, 1.0)
    assert half != full
    assert half[0] == pytest.approx(full[0], abs=0.2)


def test_what_has_no_prediction_is_refused(tiny_model: Path) -> None:
    policy = Policy(PolicyConfig(str(tiny_model)))
    assert policy.token_logprobs([], [], 1.0) == []
    with pytest.raises(ValueError, match="first token of a row has no prediction"):
        policy.token_logprobs([[]], [[1, 2]], 1.0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        policy.token_logprobs([[1]], [[2]], 0.0)
