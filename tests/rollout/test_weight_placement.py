"""Where weights lie in an engine's model, and that its parts' hashes add up. The layers have vLLM's names and attributes, and its way
of fusing, padding and sharding; the real ones are in `tests/vllm`.
"""

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from lit_rlvr.rollout.vllm.sync.fingerprint import MODULUS, Fingerprint, PolicyFingerprints
from lit_rlvr.rollout.vllm.sync.placement import find_placement, tied_names, unplaced_weights
from lit_rlvr.rollout.vllm.sync.proof import SyncReport, WeightSyncError, compare
from lit_rlvr.rollout.vllm.sync.readback import read_back

HIDDEN, HEAD, VOCAB, MLP = 8, 4, 11, 12
CONFIG = SimpleNamespace(quantization=None, dtype=torch.float32)


class Layer(nn.Module):
    """A layer that holds `weight` and perhaps `bias`."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, **attributes: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        for name, value in attributes.items():
            setattr(self, name, value)


class ColumnParallelLinear(Layer):
    """Rows are shared out."""


class QKVParallelLinear(ColumnParallelLinear):
    """Queries, keys and values, one after the other."""


class RowParallelLinear(Layer):
    """Columns are shared out."""


class VocabParallelEmbedding(Layer):
    """Rows are shared out, and padded to a multiple of something."""


class Model(nn.Module):
    """One layer of a model, as rank `rank` of `size` has it."""

    packed_modules_mapping: ClassVar = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}

    def __init__(self, weights: dict[str, Tensor], rank: int = 0, size: int = 1, kv_heads: int = 2) -> None:
        super().__init__()
        copies = max(1, size // kv_heads)

        def rows(name: str, one_of: int = size, index: int = rank) -> Tensor:
            return weights[name].chunk(one_of)[index].clone()

        names = ("q_proj", "k_proj", "v_proj")
        cuts = [(size, rank), (size // copies, rank // copies), (size // copies, rank // copies)]
        pieces = [rows(f"{name}.weight", *cut) for name, cut in zip(names, cuts, strict=True)]
        biases = [rows(f"{name}.bias", *cut) for name, cut in zip(names, cuts, strict=True)]
        shards = {"tp_rank": rank, "tp_size": size}
        sizes = [len(piece) for piece in pieces]
        self.qkv_proj = QKVParallelLinear(
            torch.cat(pieces), torch.cat(biases), output_partition_sizes=sizes, num_kv_head_replicas=copies, **shards
        )
        gate_up = [rows("gate_proj.weight"), rows("up_proj.weight")]
        self.gate_up_proj = ColumnParallelLinear(torch.cat(gate_up), output_partition_sizes=[MLP // size] * 2, **shards)
        down = weights["down_proj.weight"].chunk(size, dim=1)[rank].clone()
        self.down_proj = RowParallelLinear(
            down, weights["down_proj.bias"].clone(), input_size_per_partition=MLP // size, input_size=MLP, **shards
        )
        self.norm = Layer(weights["norm.weight"].clone())
        padded = torch.cat([weights["embed_tokens.weight"], torch.zeros(16 - VOCAB, HIDDEN)]).chunk(size)[rank].clone()
        start = min(rank * len(padded), VOCAB)
        held = SimpleNamespace(num_org_elements=min(len(padded), VOCAB - start), org_vocab_start_index=start)
        self.embed_tokens = VocabParallelEmbedding(padded, shard_indices=held, org_vocab_size=VOCAB, **shards)
        self.lm_head = VocabParallelEmbedding(padded, shard_indices=held, org_vocab_size=VOCAB, **shards)
        self.lm_head.weight = self.embed_tokens.weight


def make_weights() -> dict[str, Tensor]:
    sizes: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (VOCAB, HIDDEN),
        **{f"{p}_proj.weight": (heads * HEAD, HIDDEN) for p, heads in (("q", 4), ("k", 2), ("v", 2))},
        **{f"{p}_proj.bias": (heads * HEAD,) for p, heads in (("q", 4), ("k", 2), ("v", 2))},
        "gate_proj.weight": (MLP, HIDDEN),
        "up_proj.weight": (MLP, HIDDEN),
        "down_proj.weight": (HIDDEN, MLP),
        "down_proj.bias": (HIDDEN,),
        "norm.weight": (HIDDEN,),
    }
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in sizes.items()}


def expectation(weights: dict[str, Tensor]) -> PolicyFingerprints:
    expected = PolicyFingerprints(torch.float32, version=5)
    for name, tensor in weights.items():
        expected.add(name, tensor)
    return expected


def answers(model: Model, weights: dict[str, Tensor]) -> list[list[Any]]:
    """Return what a worker that received these weights tells of its model."""
    received = [row._replace(source="received", sampled=None) for row in expectation(weights).weights.values()]
    version = Fingerprint("", "version", "", [], 5)
    return [list(row) for row in (version, *received, *read_back(model, received, CONFIG, 5))]


@pytest.mark.parametrize(("size", "kv_heads"), [(1, 2), (2, 2), (4, 2)])
def test_the_parts_of_all_workers_make_the_policys_weights(size: int, kv_heads: int) -> None:
    weights = make_weights()
    found = [answers(Model(weights, rank, size, kv_heads), weights) for rank in range(size)]
    assert compare(expectation(weights), found) == SyncReport(received=12, read_back=13, sampled=0)
    assert compare(expectation(weights), found[::-1]).unproven == ()


@pytest.mark.parametrize(
    "parameter", ["qkv_proj.weight", "qkv_proj.bias", "down_proj.weight", "norm.weight", "embed_tokens.weight"]
)
@pytest.mark.parametrize("rank", [0, 3])
def test_one_wrong_value_on_one_worker_is_found(parameter: str, rank: int) -> None:
    weights = make_weights()
    models = [Model(weights, other, 4) for other in range(4)]
    models[rank].get_parameter(parameter).view(-1)[0] += 1e-6
    found = [answers(model, weights) for model in models]
    if parameter == "embed_tokens.weight" and rank == 3:
        assert compare(expectation(weights), found).read_back == 13  # the last rank holds padding only
        return
    name = parameter.replace("qkv", "q")
    with pytest.raises(WeightSyncError, match=name):
        compare(expectation(weights), found)


def test_workers_that_hold_copies_of_a_head_must_agree() -> None:
    """With four workers and two key heads, workers 0 and 1 both have the first: neither may be right for the other."""
    weights = make_weights()
    models = [Model(weights, rank, 4) for rank in range(4)]
    models[1].qkv_proj.weight[HEAD] += 1
    with pytest.raises(WeightSyncError, match=r"k_proj\.weight: the workers disagree"):
        compare(expectation(weights), [answers(model, weights) for model in models])


def test_the_answers_of_some_workers_are_not_enough() -> None:
    weights = make_weights()
    with pytest.raises(
        WeightSyncError, match=r"not all of them answered(.|\n)*To mend: compare the fingerprints of all workers"
    ):
        compare(expectation(weights), [answers(Model(weights, 0, 2), weights)])


def test_rows_that_lie_in_the_wrong_place_are_found() -> None:
    weights = make_weights()
    model = Model(weights)
    sizes = model.qkv_proj.output_partition_sizes
    k, v = (model.qkv_proj.weight[start : start + 8] for start in (sizes[0], sizes[0] + 8))
    swapped = v.clone(), k.clone()
    k.copy_(swapped[0])
    v.copy_(swapped[1])
    with pytest.raises(WeightSyncError, match=r"k_proj\.weight: it arrived, but the model holds other values"):
        compare(expectation(weights), [answers(model, weights)])


def test_placements_tell_the_whole_shape() -> None:
    model = Model(make_weights(), rank=1, size=2)
    for name, tensor in make_weights().items():
        place = find_placement(model, name, tuple(tensor.shape))
        assert place is not None
        assert place.whole == tuple(tensor.shape)
    assert find_placement(model, "z_proj.weight", (1,)) is None
    assert find_placement(model, "q_proj.scale", (1,)) is None
    assert find_placement(model, "experts.3.q_proj.weight", (1,)) is None


def test_tied_and_forgotten_weights_are_known_by_their_names() -> None:
    weights = make_weights()
    model = Model(weights)
    assert tied_names(model) == {"lm_head.weight": "embed_tokens.weight"}
    sent = [name for name in weights if name not in ("v_proj.bias", "norm.weight")]
    places = [place for name in sent if (place := find_placement(model, name, tuple(weights[name].shape))) is not None]
    assert [name.lstrip(".") for name, _ in unplaced_weights(model, places)] == ["v_proj.bias", "norm.weight"]


def test_plain_modules_are_read_whole() -> None:
    model = nn.ModuleDict({"a": nn.Linear(5, 3), "b": nn.Embedding(7, 2), "c": nn.Conv1d(4, 6, 3)})
    weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    received = [row._replace(source="received") for row in expectation(weights).weights.values()]
    rows = {row.name: row for row in read_back(model, received, CONFIG, 5)}
    assert {name: row.exact for name, row in rows.items()} == {row.name: row.exact for row in received}
    assert all(row.exact is not None and 0 <= row.exact < MODULUS for row in rows.values())


def test_quantized_models_are_not_read() -> None:
    weights = make_weights()
    received = [row._replace(source="received") for row in expectation(weights).weights.values()]
    assert read_back(Model(weights), received, SimpleNamespace(quantization="fp8", dtype=torch.bfloat16), 5) == []


def test_weights_without_a_known_place_are_reported_as_unproven() -> None:
    weights = make_weights() | {"experts.0.up.weight": torch.ones(2, 2)}
    report = compare(expectation(weights), [answers(Model(make_weights()), weights)])
    assert report.unproven == ("experts.0.up.weight",)
    assert report.received == 13
