"""Position-sensitive integer hashes of weights, equal on the trainer's side and inside an engine if and only if the bits are."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Int, Num
from torch import Tensor

MODULUS = 2**62
"""Hashes lie below this, so that they survive msgpack and JSON."""
SAMPLED_COLUMNS = 32
"""Columns of a matrix that are read back through the engine's matrix product in one update."""

_CHUNK = {"cpu": 2**18}
_LARGE_CHUNK = 2**23
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Fingerprint(NamedTuple):
    """What one side knows of one weight; `list(fingerprint)` is plain data, `Fingerprint(*row)` its inverse."""

    name: str
    """The weight's name in a Hugging Face checkpoint."""
    source: str
    """`policy`, `received` (as it reached the engine's worker), `computed` (as the engine's model computes with it), `untouched`
    (in the engine's model, but nothing was sent for it), `refused` (the engine's model has no place for it), or `version`, of a row
    without a weight whose `exact` is the version of the update."""
    dtype: str
    """The type it had there, before it was cast to the engine's."""
    shape: list[int]
    """Shape of the whole tensor, whichever part of it was hashed."""
    exact: int | None = None
    """Hash of every element; None where they cannot be read."""
    sampled: int | None = None
    """Hash of the update's sampled columns, read through the matrix product; None where that is not needed or not possible."""
    part: int = 0
    """Which part of a tensor that is sharded over workers."""
    parts: int = 1
    """Number of such parts; the hashes of all parts add up to that of the whole."""
    note: str = ""
    """For a tied weight the name of the one it is tied to; for a refused one the engine's reason."""


class PolicyFingerprints:
    """What the engine must hold after an update: gathered while the weights stream by, keeping none of them.

    Args:
        engine_dtype: the type the engine keeps its weights in.
        version: the version that the update brings; it decides which columns are sampled.
    """

    def __init__(self, engine_dtype: torch.dtype, version: int) -> None:
        self.engine_dtype = engine_dtype
        self.version = version
        self.weights: dict[str, Fingerprint] = {}

    def watch(self, named: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """Yield the weights as they come, taking their fingerprints."""
        for name, tensor in named:
            self.add(name, tensor)
            yield name, tensor
            del tensor

    def add(self, name: str, tensor: Tensor) -> None:
        """Take the fingerprint of one weight, as it will be once it is cast to the engine's type."""
        exact = block_hash(tensor, self.engine_dtype)
        sampled = None
        if tensor.dim() == 2:
            columns = sampled_columns(tensor.shape[1], self.version)
            sampled = sampled_hash(tensor[:, columns.to(tensor.device)], self.engine_dtype, columns)
        self.weights[name] = Fingerprint(name, "policy", dtype_name(tensor.dtype), list(tensor.shape), exact, sampled)


def block_hash(
    block: Num[Tensor, "..."],
    dtype: torch.dtype,
    first_row: int = 0,
    columns: Int[Tensor, " K"] | None = None,
    device: torch.device | None = None,
) -> int:
    """Return `sum_ij bits_ij * a_i * b_j mod 2^62` over the bit patterns of a tensor, or of a block of rows and columns of one.

    `a` and `b` are pseudo-random odd 64-bit keys of the row and the column *in the whole tensor*. Moving, swapping or transposing
    values therefore changes the hash, and the hashes of disjoint blocks add up (modulo 2^62) to that of the whole, however it was
    cut. Computed in integers, chunk by chunk: the result does not depend on the device, and no copy of the tensor is made.

    Args:
        block: the values; the first dimension is the rows, all others together are the columns.
        dtype: the type whose bit patterns are hashed; values are cast to it.
        first_row: place of the block's first row in the whole tensor.
        columns: place of each of the block's columns in the whole tensor; the first ones by default.
        device: where to compute; by default where the block is.
    """
    # Not reshape(N, -1): a worker's part may have no rows at all.
    matrix = block.detach().reshape(block.shape[:1].numel(), block.shape[1:].numel())
    device = matrix.device if device is None else device
    rows, width = matrix.shape
    columns = torch.arange(width, device=device) if columns is None else columns.to(device)
    row_keys = _keys(torch.arange(first_row, first_row + rows, device=device), salt=1)
    column_keys = _keys(columns, salt=2)
    total = torch.zeros((), dtype=torch.int64, device=device)
    step = max(1, _CHUNK.get(device.type, _LARGE_CHUNK) // max(1, width))
    for start in range(0, rows, step):
        chunk = matrix[start : start + step].to(device=device, dtype=dtype)
        bits = chunk.view(_BITS[chunk.element_size()])
        total += ((bits * column_keys).sum(dim=1) * row_keys[start : start + step]).sum()
    return int(total) % MODULUS


def sampled_hash(
    block: Num[Tensor, "N K"],
    dtype: torch.dtype,
    columns: Int[Tensor, " K"],
    first_row: int = 0,
    device: torch.device | None = None,
) -> int:
    """Return the hash of columns that passed, or are compared with what passed, a matrix product.

    A product turns -0 into 0 and may flush subnormal numbers: both count as 0 here.
    """
    values = block.detach().to(dtype)
    values = torch.where(values.abs() < torch.finfo(dtype).tiny, torch.zeros_like(values), values)
    return block_hash(values, dtype, first_row, columns, device)


def sampled_columns(width: int, version: int) -> Int[Tensor, " K"]:
    """Return which columns of a matrix with `width` of them are read back in update `version`: `SAMPLED_COLUMNS`, or all.

    Other ones each time, so that every column comes up in the course of a run.
    """
    order = _keys(torch.arange(width), salt=3 + version).argsort()
    return order[:SAMPLED_COLUMNS].sort().values


def dtype_name(dtype: torch.dtype) -> str:
    """Return `bfloat16` for `torch.bfloat16`."""
    return str(dtype).removeprefix("torch.")


def _keys(index: Int[Tensor, " N"], salt: int) -> Int[Tensor, " N"]:
    """Return an odd pseudo-random 64-bit number for each index (the finalizer of SplitMix64; int64 arithmetic wraps)."""
    mixed = (index.to(torch.int64) + 1) * _signed(0x9E3779B97F4A7C15) + _signed(salt * 0xD1B54A32D192ED03)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ _shifted(mixed, shift)) * _signed(factor)
    return (mixed ^ _shifted(mixed, 31)) | 1


def _shifted(value: Int[Tensor, " N"], places: int) -> Int[Tensor, " N"]:
    """Return the value shifted right as an unsigned number."""
    return (value >> places) & (2 ** (64 - places) - 1)


def _signed(number: int) -> int:
    number %= 2**64
    return number - 2**64 if number >= 2**63 else number
