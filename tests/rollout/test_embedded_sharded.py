"""Generation with weights sharded by FSDP2: two processes, each with its own prompts and numbers of tokens."""

import torch
import torch.distributed as dist
from tiny_policies import TinyPolicy, prompts_of_lengths, seed_grid, tiny_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn

from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import SamplingParams


def generate(model, num_prompts, max_tokens):
    engine = EmbeddedEngine()
    engine.update_weights(TinyPolicy(model), 0)
    prompts = prompts_of_lengths(4, 9, 6)[:num_prompts]
    groups = engine.generate(prompts, SamplingParams(max_tokens), seed_grid(num_prompts, 2), [3])
    return [[completion.token_ids for completion in group] for group in groups]


def one_rank(rank: int, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    model = tiny_model("qwen3")
    for layer in model.model.layers:
        fully_shard(layer, mesh=init_device_mesh("cpu", (2,)))
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    ids = torch.tensor([[1, 2, 3, 4]])
    for num_prompts in (3, 3 * rank):  # the second time rank 0 has nothing to generate
        expected = generate(tiny_model("qwen3"), num_prompts, 8 + 5 * rank)
        assert generate(model, num_prompts, 8 + 5 * rank) == expected
        assert all(isinstance(p, DTensor) for p in model.parameters())
        model(ids, labels=ids).loss.backward()
        assert all(isinstance(p.grad, DTensor) for p in model.parameters())
    dist.destroy_process_group()


def test_ranks_generate_independently_from_sharded_weights(tmp_path):
    spawn(one_rank, (str(tmp_path / "store"),), nprocs=2)
