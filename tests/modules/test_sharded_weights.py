"""Weights gathered from shards on two processes: the same on both ranks, equal to the whole policy's, one at a time in memory."""

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

from lit_rlvr.modules import Policy, PolicyConfig
from lit_rlvr.modules.loading import LoRAConfig
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.sharding import shard
from lit_rlvr.tasks.tiny_model import TinyModelConfig, make_model

CASES = (("tied", None), ("untied", LoRAConfig(rank=2)), ("tied", LoRAConfig(rank=2)))
PROMPTS, COMPLETIONS = [[5, 6, 7], [12]], [[8, 9, 10], [6, 7]]


def plain(values: Any) -> list[Tensor]:
    """The tensors with memory of their own; wrappers like DTensor have none."""
    return [v for v in values if type(v) in (Tensor, Parameter) and v.device.type == "cpu"]


class LiveBytes(TorchDispatchMode):
    """Counts the memory of the results of all operations, for as long as any tensor uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._users: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {tensor.untyped_storage().data_ptr() for tensor in plain(args)}
        for tensor in plain(result if isinstance(result, tuple | list) else [result]):
            place = tensor.untyped_storage().data_ptr()
            # What was there before is not counted, whatever looks at it.
            if place in self._users or place not in given:
                self._count(tensor)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if not self._users.get(place):
            self.now += size
            self.most = max(self.most, self.now)
        self._users[place] = self._users.get(place, 0) + 1
        weakref.finalize(tensor, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._users[place] -= 1
        if not self._users[place]:
            del self._users[place]
            self.now -= size


def changed(config: PolicyConfig) -> Policy:
    policy = Policy(config)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return policy


def peak_while_iterating(named: Iterator[tuple[str, Tensor]], keep: bool) -> tuple[int, dict[str, Tensor | None]]:
    """The most bytes that were alive at once beyond those before, and the weights (None where they are not kept)."""
    kept: dict[str, Tensor | None] = {}
    with LiveBytes() as live:
        for name, tensor in named:
            kept[name] = tensor if keep else None
            del tensor
    return live.most, kept


def check(config: PolicyConfig, rank: int) -> None:
    whole, policy = changed(config), changed(config)
    shard(policy, policy.causal_lm.get_decoder().layers, init_device_mesh("cpu", (2,)))
    expected = dict(whole.named_weights())
    everything, found = peak_while_iterating(policy.named_weights(), keep=True)
    assert list(found) == list(expected)
    for name, tensor in found.items():
        assert not isinstance(tensor, DTensor)
        torch.testing.assert_close(tensor, expected[name])
    del found
    one_by_one, _ = peak_while_iterating(policy.named_weights(), keep=False)
    total, largest = sum(t.nbytes for t in expected.values()), max(t.nbytes for t in expected.values())
    assert total > 5 * largest, "the model is too small for this test to fail"
    assert everything >= total
    # Gathering needs a buffer beside its result; merging needs a copy in float32 and the factors.
    assert largest <= one_by_one <= 2.5 * largest, f"{one_by_one} bytes at once, where the largest weight has {largest}"
    assert all(isinstance(parameter, DTensor) for parameter in policy.parameters())
    engine = EmbeddedEngine(device="cpu")
    engine.update_weights(policy, 0)
    with LiveBytes() as live:
        engine.update_weights(policy, 1)
    assert largest <= live.most <= 2.5 * largest, f"{live.most} bytes at once for an update of the engine's copy"
    theirs: list[Any] = [None, None]
    dist.all_gather_object(theirs, list(expected))
    assert theirs[0] == theirs[1]
    ours, reference = (p.token_logprobs(PROMPTS, COMPLETIONS, 0.8) for p in (policy, whole))
    for row, expected_row in zip(ours, reference, strict=True):
        torch.testing.assert_close(torch.tensor(row), torch.tensor(expected_row), atol=1e-5, rtol=0)
    # After a forward without a backward the root is still whole; the weights are the same.
    assert [name for name, _ in policy.named_weights()] == list(expected)


def one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for model, lora in CASES:
        check(PolicyConfig(f"{folder}/{model}", lora=lora), rank)
    dist.destroy_process_group()


def test_shards_are_gathered_one_weight_at_a_time(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_layers": 4, "num_heads": 2, "num_kv_heads": 1, "head_dim": 16, "mlp_size": 64}
    for name, is_tied in (("tied", True), ("untied", False)):
        make_model(str(tmp_path / name), TinyModelConfig(**sizes, init_std=0.3, ties_embeddings=is_tied))
    spawn(one_rank, (str(tmp_path),), nprocs=2)
