"""Sequences packed into one row say what they say alone; where an architecture cannot, the run does not start."""

import sys
from pathlib import Path

import pytest
import torch

from lit_rlvr.modules import Policy, PolicyConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "rollout"))
from tiny_policies import CONFIGS, VOCAB, tiny_model

KEEPS_APART = [name for name in CONFIGS if name != "qwen3_next"]


def scores(folder: Path, packed: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log-probs, entropies and the gradient of a batch with rows of 3, 12, 1 and 9 tokens."""
    generator = torch.Generator().manual_seed(0)
    attention_mask = torch.arange(12) < torch.tensor([[3], [12], [1], [9]])
    input_ids = torch.randint(1, VOCAB, (4, 12), generator=generator) * attention_mask
    mask = attention_mask & (torch.arange(12) >= 1)
    mask[1, 4:7] = False
    policy = Policy(PolicyConfig(str(folder), pack_sequences=packed))
    found = policy(input_ids, attention_mask, mask, temperature=0.8, with_entropy_gradient=True)
    weights = torch.rand(mask.shape, generator=generator)
    (weights * (found.logprobs + 0.3 * found.entropy)).sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
    return found.logprobs.detach(), found.entropy.detach(), gradient


@pytest.mark.parametrize("name", KEEPS_APART)
def test_packed_rows_score_and_learn_as_padded_ones(name: str, tmp_path: Path) -> None:
    tiny_model(name).save_pretrained(tmp_path)
    padded, packed = scores(tmp_path, packed=False), scores(tmp_path, packed=True)
    for ours, theirs in zip(packed, padded, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


def test_an_architecture_that_mixes_packed_sequences_is_found_out(tmp_path: Path) -> None:
    tiny_model("qwen3_next").save_pretrained(tmp_path)
    Policy(PolicyConfig(str(tmp_path))).check_against_full_logits()
    with pytest.raises(RuntimeError, match="lets packed sequences see each other: try pack_sequences: false"):
        Policy(PolicyConfig(str(tmp_path), pack_sequences=True)).check_against_full_logits()
