import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parent.parent / "examples" / "benchmarks"


@pytest.fixture
def rl_step_memory(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("rl_step_memory")


def test_memory_of_an_rl_step_does_not_grow_with_vocabulary_times_tokens(rl_step_memory, capsys) -> None:
    rl_step_memory.main(["--vocabulary", "32768", "--tokens", "256", "512", "--chunk-size", "64", "--device", "cpu"])
    _, short, long = (line.split() for line in capsys.readouterr().out.strip().splitlines())
    full_short, ours_short, full_long, ours_long = map(float, [*short[3:5], *long[3:5]])
    logits_mib = 32768 * 256 * 4 / 2**20
    assert full_long - full_short > 2 * logits_mib
    assert ours_long - ours_short < 0.2 * logits_mib
    assert ours_long < 1.2 * ours_short
    assert full_long > 3 * ours_long


def test_both_ways_to_take_an_rl_step_agree(rl_step_memory) -> None:
    batch = rl_step_memory.rollouts(2, 24, 50, "cpu")
    losses, gradients = [], []
    for method in rl_step_memory.METHODS:
        module = rl_step_memory.build_module(method, 50, 8, "cpu")
        loss = module.training_step(batch, 0)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in module.policy.parameters()]))
    assert losses[0] != 0
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)
