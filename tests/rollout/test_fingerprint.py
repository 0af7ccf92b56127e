"""The hashes that prove a weight update, without any engine."""

import pytest
import torch
from torch import Tensor

from lit_rlvr.rollout.vllm.sync import fingerprint
from lit_rlvr.rollout.vllm.sync.fingerprint import (
    MODULUS,
    SAMPLED_COLUMNS,
    Fingerprint,
    PolicyFingerprints,
    block_hash,
    sampled_columns,
    sampled_hash,
)

KNOWN = 2995510958549368832
FLOATS = [torch.float32, torch.bfloat16, torch.float16]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_same_bits_give_the_same_number_and_it_fits_into_plain_data(dtype: torch.dtype) -> None:
    weight = noise(37, 53).to(dtype)
    assert block_hash(weight, dtype) == block_hash(weight.clone(), dtype)
    assert 0 <= block_hash(weight, dtype) < MODULUS


def test_the_number_is_a_known_one() -> None:
    """Two processes, of two versions of this code or of torch, must agree: the function itself is pinned."""
    weight = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    assert block_hash(weight, torch.float32) == KNOWN


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_bit_anywhere_changes_it(dtype: torch.dtype) -> None:
    weight = noise(5, 7).to(dtype)
    before = block_hash(weight, dtype)
    integers = {4: torch.int32, 2: torch.int16}[dtype.itemsize]
    for place in range(35):
        changed = weight.clone()
        changed.view(integers).view(-1)[place] ^= 1
        assert block_hash(changed, dtype) != before


def test_moved_values_change_it() -> None:
    weight = noise(16, 16)
    before = block_hash(weight, torch.float32)
    swapped = weight.clone()
    swapped[3, 4], swapped[3, 5] = weight[3, 5], weight[3, 4]
    for other in (weight.T, weight.flip(0), weight.flip(1), weight.roll(1, 0), weight[torch.randperm(16)], swapped):
        assert block_hash(other, torch.float32) != before


def test_rounding_changes_it_and_widening_does_not() -> None:
    weight = noise(8, 8)
    assert block_hash(weight.bfloat16(), torch.float32) != block_hash(weight, torch.float32)
    assert block_hash(weight.bfloat16(), torch.bfloat16) == block_hash(weight, torch.bfloat16)
    assert block_hash(weight, torch.bfloat16) != block_hash(weight, torch.float16)


def test_shards_of_rows_and_columns_add_up_to_the_whole() -> None:
    weight = noise(24, 20)
    parts = 0
    for rows in (slice(0, 8), slice(8, 9), slice(9, 24)):
        for columns in (slice(0, 13), slice(13, 20)):
            places = torch.arange(columns.start, columns.stop)
            parts += block_hash(weight[rows, columns], torch.float32, rows.start, places)
    assert parts % MODULUS == block_hash(weight, torch.float32)


@pytest.mark.parametrize("shape", [(), (9,), (6, 10), (4, 3, 5)])
def test_it_does_not_depend_on_how_the_tensor_is_cut_into_chunks(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = noise(*shape)
    whole = block_hash(weight, torch.float32)
    for size in (1, 7, 16):
        monkeypatch.setitem(fingerprint._CHUNK, "cpu", size)
        assert block_hash(weight, torch.float32) == whole


def test_strides_do_not_matter() -> None:
    weight = noise(12, 30)
    assert block_hash(weight.T.contiguous().T, torch.bfloat16) == block_hash(weight, torch.bfloat16)
    assert block_hash(weight[:, ::3], torch.float32) == block_hash(weight[:, ::3].contiguous(), torch.float32)


@pytest.mark.parametrize("dtype", FLOATS)
def test_columns_read_through_a_matrix_product_hash_like_the_weight(dtype: torch.dtype) -> None:
    """A product with a unit vector is not rounded; only the sign of a zero is lost."""
    weight = noise(40, 96).to(dtype)
    weight[0, :50] = -0.0
    columns = sampled_columns(96, version=3)
    units = torch.nn.functional.one_hot(columns, 96).to(dtype)
    product = torch.nn.functional.linear(units, weight).T
    assert sampled_hash(product, dtype, columns) == sampled_hash(weight[:, columns], dtype, columns)


def test_sampled_columns_move_on_and_reach_every_column() -> None:
    seen: set[int] = set()
    for version in range(60):
        columns = sampled_columns(256, version)
        assert columns.tolist() == sorted(set(columns.tolist()))
        assert len(columns) == SAMPLED_COLUMNS
        seen |= set(columns.tolist())
    assert seen == set(range(256))
    assert sampled_columns(256, 0).tolist() == sampled_columns(256, 0).tolist() != sampled_columns(256, 1).tolist()
    assert sampled_columns(20, 5).tolist() == list(range(20))


def test_a_sampled_hash_sees_its_columns_only() -> None:
    weight = noise(16, 128)
    columns = sampled_columns(128, 0)
    before = sampled_hash(weight[:, columns], torch.float32, columns)
    outside = next(k for k in range(128) if k not in columns.tolist())
    for column, is_seen in ((int(columns[0]), True), (outside, False)):
        changed = weight.clone()
        changed[5, column] *= 1 + 1e-6
        assert (sampled_hash(changed[:, columns], torch.float32, columns) != before) is is_seen


def test_the_policys_fingerprints_stream_by_and_keep_no_tensor() -> None:
    expected = PolicyFingerprints(torch.bfloat16, version=2)
    weights = {"a.weight": noise(6, 4), "b.bias": noise(5)}
    assert [(name, tensor.shape) for name, tensor in expected.watch(weights.items())] == [
        ("a.weight", (6, 4)),
        ("b.bias", (5,)),
    ]
    a, b = expected.weights["a.weight"], expected.weights["b.bias"]
    assert (a.dtype, a.shape, b.shape) == ("float32", [6, 4], [5])
    assert a.exact == block_hash(weights["a.weight"].bfloat16(), torch.bfloat16)
    assert a.sampled is not None
    assert b.sampled is None
    assert Fingerprint(*list(a)) == a
    assert not any(isinstance(value, Tensor) for row in expected.weights.values() for value in row)
