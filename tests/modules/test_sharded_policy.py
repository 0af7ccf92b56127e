"""A policy in shards on two processes: it scores like the whole one, and is exported as a whole one."""

from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn
from transformers import AutoTokenizer

from lit_rlvr.modules import Policy, PolicyConfig
from lit_rlvr.modules.export import export_policy, gathered
from lit_rlvr.modules.loading import LoRAConfig
from lit_rlvr.sharding import shard

CONFIGS = {"full": None, "lora": LoRAConfig(rank=2)}


def changed(config: PolicyConfig) -> Policy:
    """A policy whose trainable weights are not the initial ones."""
    policy = Policy(config)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return policy


def logprobs(policy: Policy, rank: int = 0) -> torch.Tensor:
    """Scores of as many rows as the rank says: the ranks call the head different numbers of times."""
    tokens = torch.arange(1, 1 + 8 * (rank + 1)).reshape(rank + 1, 8) % 20
    mask = torch.ones_like(tokens, dtype=torch.bool)
    scored = mask.clone()
    scored[:, 0] = False
    return policy(tokens, mask, scored).logprobs


def one_rank(rank: int, folder: str, model: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for name, lora in CONFIGS.items():
        config = PolicyConfig(model, chunk_size=3, lora=lora)
        whole, policy = changed(config), changed(config)
        shard(policy, policy.causal_lm.get_decoder().layers, init_device_mesh("cpu", (2,)))
        policy.check_against_full_logits()
        with policy.unsharded():
            assert not any(isinstance(p, DTensor) for p in policy.parameters())
        assert all(isinstance(p, DTensor) for p in policy.parameters())
        found = logprobs(policy, rank)
        torch.testing.assert_close(found, logprobs(whole, rank), atol=1e-5, rtol=0)
        found.sum().backward()
        copy = gathered(policy)
        if rank == 0:
            export_policy(copy, AutoTokenizer.from_pretrained(model), f"{folder}/{name}")
    dist.destroy_process_group()


def test_shards_score_and_are_exported_as_the_whole(tmp_path: Path, tiny_model: Path) -> None:
    spawn(one_rank, (str(tmp_path), str(tiny_model)), nprocs=2)
    for name, lora in CONFIGS.items():
        config = PolicyConfig(str(tiny_model), lora=lora)
        exported = Policy(replace(config, path=str(tmp_path / name), lora=None))
        with torch.no_grad():
            torch.testing.assert_close(logprobs(exported), logprobs(changed(config)), atol=1e-5, rtol=0)
