"""What the tests of launched servers share: a policy, prompts, and the gap between an engine's log-probs and the policy's."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.vllm.server.engine import VLLMServerEngine
from lit_rlvr.rollout.vllm.server.pool import Server
from lit_rlvr.types import Completion, Prompt

STOP = 3
SMALL = {"kv_cache_memory_bytes": 64 * 2**20}
PROMPTS = [
    Prompt(f"p{i}", (), token_ids=tuple((7 * j + i) % 250 + 4 for j in range(length))) for i, length in enumerate((5, 20, 300))
]
"""The last one fills two blocks of vLLM's cache: one of older weights would show."""
SEEDS = [[100 * p + g for g in range(4)] for p in range(len(PROMPTS))]


def make_policy(model: Path) -> Policy:
    return Policy(PolicyConfig(str(model)))


def move(policy: Policy, seed: int) -> None:
    """Change all weights, so that log-probs move by far more than the tolerance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


def gap(policy: Policy, completions: list[list[Completion]], temperature: float, prompts: Sequence[Prompt] = PROMPTS) -> float:
    pairs = [(prompt, completion) for prompt, row in zip(prompts, completions, strict=True) for completion in row]
    ours = policy.token_logprobs([p.token_ids for p, _ in pairs], [c.token_ids for _, c in pairs], temperature)
    return max(abs(a - b) for (_, c), row in zip(pairs, ours, strict=True) for a, b in zip(c.logprobs, row, strict=True))


def servers_of(engine: VLLMServerEngine) -> list[Server]:
    assert engine._fleet is not None
    assert engine._fleet.pool is not None
    return engine._fleet.pool.servers


def kill(server: Server) -> None:
    """Kill the root of a server's processes with -9; the others are the keeper's to find."""
    assert server.process is not None
    assert server.process.process_id is not None
    os.kill(server.process.process_id, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
