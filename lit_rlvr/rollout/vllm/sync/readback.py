"""Reading the weights that vLLM's model computes with, also where its CPU backend has packed them away."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lit_rlvr.rollout.vllm.sync.fingerprint import Fingerprint, block_hash, dtype_name, sampled_columns, sampled_hash
from lit_rlvr.rollout.vllm.sync.placement import Placement, find_placement, tied_names, unplaced_weights


@torch.no_grad()
def read_back(model: nn.Module, received: Sequence[Fingerprint], model_config: Any, version: int) -> list[Fingerprint]:
    """Return the fingerprints of the weights in the model, under the names they were received by.

    A weight that can be read is hashed whole. On CPUs vLLM repacks the weights of its linear layers for oneDNN and drops the
    originals; those are read *through the layer's own matrix product*: for the `k`-th unit vector the layer returns column `k` of
    its weight, exactly in every type, since a product with 1 and sums with 0 are not rounded. That is done for `SAMPLED_COLUMNS`
    columns, other ones in each update. So no tolerance hides a small change: a tensor that was not loaded, one with another's
    values or rounded to another type, a stale packed copy, all differ in the sampled columns if they differ there in a single bit.
    What this cannot see is a difference in the other columns alone, before they come up.

    Quantized models are not read: their weights are not the policy's, bit for bit.
    """
    if model_config.quantization is not None:
        return []
    reader = _Reader(model_config.dtype, version)
    by_name = {weight.name: weight for weight in received if weight.source == "received"}
    places = {name: find_placement(model, name, tuple(weight.shape)) for name, weight in by_name.items()}
    placed = {name: place for name, place in places.items() if place is not None}
    rows = [reader.read(place, by_name[name]) for name, place in placed.items()]
    for name, original in tied_names(model).items():
        place = find_placement(model, name, tuple(by_name[original].shape)) if original in by_name else None
        if place is not None and name not in by_name:
            rows.append(reader.read(place, by_name[original]._replace(name=name, note=original), is_head=True))
    if len(placed) == len(places):
        for name, parameter in unplaced_weights(model, list(placed.values())):
            rows.append(Fingerprint(name, "untouched", dtype_name(parameter.dtype), list(parameter.shape)))
    return rows


class _Reader:
    """Reads placed weights, remembering the last layer's output: the weights that are fused in a layer come one after another."""

    def __init__(self, dtype: torch.dtype, version: int) -> None:
        self.dtype = dtype
        self.version = version
        self._last: tuple[nn.Module, Tensor] | None = None

    def read(self, place: Placement, weight: Fingerprint, is_head: bool = False) -> Fingerprint:
        """Return the fingerprint of a weight, or this worker's part of it, as the model holds it."""
        tensor = place.tensor
        exact = sampled = None
        if tensor.numel() > 0:
            block = tensor[place.local_row : place.local_row + place.rows] if tensor.dim() else tensor
            columns = torch.arange(place.first_column, place.first_column + tensor.shape[1:].numel())
            exact = block_hash(block, self.dtype, place.first_row, columns)
        if place.parameter == "weight" and _multiplies_packed(place.module, is_head):
            sampled = self._through_product(place, weight.shape[1])
        return weight._replace(
            source="computed", dtype=dtype_name(tensor.dtype), exact=exact, sampled=sampled, part=place.part, parts=place.parts
        )

    def _through_product(self, place: Placement, width: int) -> int:
        columns = sampled_columns(width, self.version)
        local_width: int = place.module.input_size_per_partition
        held = columns[(columns >= place.first_column) & (columns < place.first_column + local_width)]
        if self._last is None or self._last[0] is not place.module:
            self._last = (place.module, _columns(place.module, held - place.first_column, local_width, self.dtype))
        block = self._last[1][place.local_row : place.local_row + place.rows]
        return sampled_hash(block, self.dtype, held, place.first_row)


def _multiplies_packed(module: nn.Module, is_head: bool) -> bool:
    """Tell whether the layer multiplies with a packed copy; an input embedding has one too, but only looks rows up."""
    return hasattr(module, "cpu_linear") and (is_head or type(module).__name__ != "VocabParallelEmbedding")


def _columns(module: Any, columns: Int[Tensor, " R"], width: int, dtype: torch.dtype) -> Float[Tensor, "N R"]:
    """Return columns of a layer's weight: what its matrix product, without bias, makes of unit vectors."""
    units = torch.nn.functional.one_hot(columns, width).to(dtype)
    return module.quant_method.apply(module, units, None).T
