"""What the tests of the engine in the process share: policies, prompts, and the distance of log-probs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lit_rlvr.modules import PolicyConfig
from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm import VLLMEngine
from lit_rlvr.types import Completion, Prompt

VOCAB = 256


def make_engine(**settings: Any) -> VLLMEngine:
    return VLLMEngine(**{"enforce_eager": True, "kv_cache_gb": 0.05, "max_model_len": 640} | settings)


def make_policy(path: Path, **settings: Any) -> Policy:
    return Policy(PolicyConfig(str(path), **settings))


def make_prompts(*lengths: int) -> list[Prompt]:
    generator = torch.Generator().manual_seed(7)
    ids = [tuple(torch.randint(0, VOCAB, (length,), generator=generator).tolist()) for length in lengths]
    return [Prompt(id=f"p{i}", messages=(), token_ids=tokens) for i, tokens in enumerate(ids)]


def make_seeds(num_prompts: int, group_size: int) -> list[list[int]]:
    return [[10_000 * p + g for g in range(group_size)] for p in range(num_prompts)]


def optimize(policy: Policy, steps: int = 3) -> None:
    """Take optimizer steps that move every weight."""
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    ids = torch.randint(0, VOCAB, (4, 32), generator=torch.Generator().manual_seed(3))
    for _ in range(steps):
        optimizer.zero_grad()
        policy.model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()


def gaps(policy: Policy, prompts: Sequence[Prompt], groups: Sequence[Sequence[Completion]]) -> list[torch.Tensor]:
    """Return |engine - policy| for the log-probs of each completion, in order."""
    rows = [(prompt.token_ids, completion) for prompt, group in zip(prompts, groups, strict=True) for completion in group]
    temperature = rows[0][1].semantics.temperature
    ours = policy.token_logprobs([p for p, _ in rows], [c.token_ids for _, c in rows], temperature)
    return [(torch.tensor(own) - torch.tensor(c.logprobs)).abs() for own, (_, c) in zip(ours, rows, strict=True)]


def largest_gap(policy: Policy, prompts: Sequence[Prompt], groups: Sequence[Sequence[Completion]]) -> float:
    return float(torch.cat(gaps(policy, prompts, groups)).max())


PARAMS = SamplingParams(max_tokens=24)
