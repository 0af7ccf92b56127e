"""Where a weight of a Hugging Face checkpoint lies in vLLM's model: fused with others, padded, sharded over workers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Placement:
    """The block of one engine parameter that holds a checkpoint's weight, or this worker's part of it."""

    module: Any
    parameter: str
    """Name of the parameter in its module, such as `weight`."""
    piece: int = 0
    """Which of the weights that are fused into the parameter."""
    local_row: int = 0
    """First row of the block in the parameter."""
    rows: int = 0
    """Rows of the block."""
    first_row: int = 0
    """Place of its first row in the whole weight."""
    first_column: int = 0
    """Place of its first column in the whole weight."""
    part: int = 0
    """Which of the parts that the whole weight is sharded into."""
    parts: int = 1
    whole: tuple[int, ...] | None = None
    """Shape of the whole weight; None where the parameter no longer tells."""

    @property
    def tensor(self) -> Tensor:
        """The engine's parameter, of which the block is a part. Empty where the weight is packed away."""
        return getattr(self.module, self.parameter)


def find_placement(model: nn.Module, name: str, shape: tuple[int, ...]) -> Placement | None:
    """Return where the weight called `name`, of this shape, lies in the model; None where it cannot be told (fused experts, other
    layouts).
    """
    found = _owner(model, name)
    if found is None:
        return None
    module, parameter, piece = found
    tensor = getattr(module, parameter)
    held = tuple(tensor.shape) if tensor.numel() else None
    kinds = {kind.__name__ for kind in type(module).__mro__}
    rank, size = getattr(module, "tp_rank", 0), getattr(module, "tp_size", 1)
    rows = shape[0] if shape else 1
    if "VocabParallelEmbedding" in kinds:
        here = module.shard_indices
        whole = held and (module.org_vocab_size, *held[1:])
        return Placement(module, parameter, 0, 0, here.num_org_elements, here.org_vocab_start_index, 0, rank, size, whole)
    if "RowParallelLinear" in kinds and parameter == "weight":
        whole = held and (held[0], module.input_size)
        return Placement(module, parameter, 0, 0, rows, 0, rank * module.input_size_per_partition, rank, size, whole)
    if "ColumnParallelLinear" in kinds and (piece is not None or len(module.output_partition_sizes) == 1):
        return _column_parallel(module, parameter, piece or 0, held)
    return Placement(module, parameter, 0, 0, rows, whole=held)


def _column_parallel(module: Any, parameter: str, piece: int, held: tuple[int, ...] | None) -> Placement:
    sizes: list[int] = module.output_partition_sizes
    # Keys and values of fewer heads than workers are held by several of them.
    copies = getattr(module, "num_kv_head_replicas", 1) if piece > 0 else 1
    part, parts, rows = module.tp_rank // copies, module.tp_size // copies, sizes[piece]
    whole = held and (parts * rows, *held[1:])
    return Placement(module, parameter, piece, sum(sizes[:piece]), rows, part * rows, 0, part, parts, whole)


def unplaced_weights(model: nn.Module, placements: list[Placement]) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters of the model, or their fused pieces under checkpoint-like names, that no placement covers."""
    covered = {(id(placement.tensor), placement.piece) for placement in placements}
    packed = _packed(model)
    for name, parameter in model.named_parameters():
        path, _, leaf = name.rpartition(".")
        parent, _, last = path.rpartition(".")
        pieces = packed.get(last, [])
        names = [f"{parent}.{piece}.{leaf}" for piece in pieces] if len(pieces) > 1 else [name]
        yield from ((full, parameter) for index, full in enumerate(names) if (id(parameter), index) not in covered)


def tied_names(model: nn.Module) -> dict[str, str]:
    """Return the names of parameters that are the same as an earlier one, with the name of that one."""
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            tied[name] = first[id(parameter)]
    return tied


def _owner(model: nn.Module, name: str) -> tuple[Any, str, int | None] | None:
    """Return the module and parameter that hold a weight, and its index among those fused there."""
    mapper = getattr(model, "hf_to_vllm_mapper", None)
    target = name if mapper is None else mapper.map_name(name)
    if target is None:
        return None
    path, _, leaf = target.rpartition(".")
    parent, _, last = path.rpartition(".")
    original = name.split(".")[-2] if "." in name else ""
    for fused, pieces in _packed(model).items():
        if len(pieces) > 1 and original in pieces and last in (fused, original):
            module = _parameter_owner(model, f"{parent}.{fused}" if parent else fused, leaf)
            if module is not None:
                return module, leaf, pieces.index(original)
    module = _parameter_owner(model, path, leaf)
    return None if module is None else (module, leaf, None)


def _packed(model: nn.Module) -> dict[str, list[str]]:
    return getattr(model, "packed_modules_mapping", {})


def _parameter_owner(model: nn.Module, path: str, leaf: str) -> nn.Module | None:
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return None
    return module if isinstance(getattr(module, leaf, None), nn.Parameter) else None
