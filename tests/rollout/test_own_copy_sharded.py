"""A copy of sharded weights on each of two processes: it generates in a thread while the shards are trained."""

from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed as dist
from tiny_policies import TinyPolicy, prompts_of_lengths, seed_grid, tiny_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn

from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import SamplingParams

IDS = torch.tensor([[1, 2, 3, 4]])


def train(model, optimizer, num_steps=3):
    for _ in range(num_steps):
        optimizer.zero_grad()
        model(IDS, labels=IDS).loss.backward()
        optimizer.step()


def one_rank(rank: int, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    model, whole = tiny_model("qwen3"), tiny_model("qwen3")
    for layer in model.model.layers:
        fully_shard(layer, mesh=init_device_mesh("cpu", (2,)))
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.05) for m in (model, whole)]
    engine, reference = EmbeddedEngine(device="cpu"), EmbeddedEngine()
    prompts, params = prompts_of_lengths(4, 9, 6)[: 3 * rank], SamplingParams(max_tokens=30 + 10 * rank)

    def generate(subject):
        return [c for group in subject.generate(prompts, params, seed_grid(len(prompts), 2), [3]) for c in group]

    def assert_equal(found):
        assert [c.token_ids for c in found] == [c.token_ids for c in generate(reference)]

    engine.update_weights(TinyPolicy(model), 0)
    reference.update_weights(TinyPolicy(whole), 0)
    assert not any(isinstance(p, DTensor) for p in engine._weights.model.parameters())
    with ThreadPoolExecutor(1) as pool:
        # Rank 0 has nothing to generate and is in the middle of the next collective long before the other.
        running = pool.submit(generate, engine)
        train(model, optimizers[0])
        assert_equal(running.result())
        train(whole, optimizers[1])
        running = pool.submit(generate, engine)
        engine.update_weights(TinyPolicy(model), 1)
        versions = {v for c in running.result() for v in c.token_versions or (c.weight_version,)}
        assert versions <= {0, 1}
    assert all(isinstance(p, DTensor) for p in model.parameters())
    assert_equal(generate(engine))
    dist.destroy_process_group()


def test_shards_are_trained_while_the_copy_generates(tmp_path):
    spawn(one_rank, (str(tmp_path / "store"),), nprocs=2)
