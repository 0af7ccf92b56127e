"""`compile_decoding` changes the speed, not the tokens, and follows the weights."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own: the run-time type checks of the tests are in the compiler's way.
SCRIPT = """
import torch
from tiny_policies import TinyPolicy, prompts_of_lengths, tiny_model
from lit_rlvr.rollout import EmbeddedEngine, SamplingParams

model = tiny_model("qwen3")
prompts, seeds = prompts_of_lengths(3, 5, 9), [[1, 2, 3], [4, 5, 6], [7, 8, 9]]

def generate(compiled):
    engine = EmbeddedEngine(compile_decoding=compiled)
    engine.update_weights(TinyPolicy(model), 0)
    return engine, lambda: engine.generate(prompts, SamplingParams(max_tokens=12), seeds, [2])

_, eager = generate(False)
engine, compiled = generate(True)
first = compiled()
assert [[c.token_ids for c in g] for g in first] == [[c.token_ids for c in g] for g in eager()]
with torch.no_grad():
    for parameter in model.parameters():
        parameter.mul_(1.2)
second = compiled()
assert [[c.token_ids for c in g] for g in second] == [[c.token_ids for c in g] for g in eager()]
assert first != second
print("same tokens")
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_decoding_gives_the_same_tokens_before_and_after_an_update() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=280, check=False
    )
    assert "same tokens" in done.stdout, done.stderr[-3000:]
