"""Low-rank updates added to the weights they adapt, one weight at a time."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

_INSIDE = ".base_layer."
_PLAIN_LORA = "peft.tuners.lora.layer.Linear"
_FACTORS = (".lora_A.", ".lora_B.")
_MEND = "train plain LoRA on linear layers (policy.lora.target_modules), or the whole model"


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """Return a tensor detached, and gathered if it is in shards (every rank must call it then)."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def merged(tensor: Tensor, layer: Any) -> Tensor:
    """Return `W + scaling * B A` of a LoRA layer, in the type of `W`; computed in float32 at least.

    LoRA: https://arxiv.org/abs/2106.09685, section 4.1.
    """
    weight = whole(tensor)
    total = weight.to(torch.promote_types(weight.dtype, torch.float32), copy=True)
    for adapter in layer.active_adapters:
        if adapter in layer.lora_A:
            a, b = (whole(factor[adapter].weight).to(total.dtype) for factor in (layer.lora_A, layer.lora_B))
            left, right = (a.T, b.T) if layer.fan_in_fan_out else (b, a)
            total.addmm_(left, right, alpha=layer.scaling[adapter])
    return total.to(weight.dtype)


def plain_name(model: nn.Module, name: str) -> tuple[str, nn.Module | None] | None:
    """Return the name that a weight has without adapters, and the LoRA layer that adapts it; None for a weight of the adapters.

    Raises:
        ValueError: an adapter that is not plain LoRA of a linear layer.
    """
    if any(factor in name for factor in _FACTORS):
        return None
    if "lora_" in name or ".modules_to_save." in name or ".original_module." in name:
        raise ValueError(f"the weight {name} belongs to an adapter whose merged weights are not known here: {_MEND}")
    if _INSIDE not in name:
        return name, None
    path, rest = name.split(_INSIDE, 1)
    layer: Any = model.get_submodule(path)
    # By name, because peft is an optional dependency; other kinds (quantized, embeddings, experts) merge in other ways.
    kind = f"{type(layer).__module__}.{type(layer).__qualname__}"
    if kind != _PLAIN_LORA or layer.lora_variant or any(layer.lora_bias.values()):
        raise ValueError(f"the adapter of {path} is a {kind} whose merged weights are not known here: {_MEND}")
    is_adapted = rest == "weight" and not layer.merged
    return f"{path}.{rest}", layer if is_adapted else None
