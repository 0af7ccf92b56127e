"""A policy's weights under their names in a Hugging Face checkpoint, whole, and one at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from lit_rlvr.modules.lora_merge import merged, plain_name, whole


@dataclass(frozen=True)
class _Source:
    """Where one weight comes from."""

    tensor: Tensor
    layer: nn.Module | None
    """The LoRA layer whose update is added."""

    def weight(self) -> Tensor:
        return whole(self.tensor) if self.layer is None else merged(self.tensor, self.layer)

    def outline(self) -> Tensor:
        """Return a tensor without memory that stands for the weight."""
        return torch.empty(self.tensor.shape, dtype=self.tensor.dtype, device="meta")


def named_weights(root: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of the causal LM inside `root` in the order of its modules, as `save_pretrained` would name them.

    Each is detached, in its own type and on its own device. What is in shards is gathered when its turn comes (every rank must
    iterate to the end), LoRA updates are merged, tied weights come once, persistent buffers are included. Beyond the model itself
    there is one whole weight at a time, and while it is merged a second one in float32, provided that the consumer lets go of a
    tensor before it asks for the next. A tensor may share its memory with the model: copy what shall outlive the next step.

    Raises:
        ValueError: there is no causal LM; an adapter that is not plain LoRA, or that adapts one of two tied weights; an architecture
            whose checkpoints hold weights made of several of the model's.
    """
    model = next((module for module in root.modules() if isinstance(module, PreTrainedModel)), None)
    if model is None:
        raise ValueError(f"{type(root).__name__} holds no transformers model, so its weights have no names in a checkpoint")
    sources = _sources(model)
    if _names_are_those_of_checkpoints(model, sources):
        return ((name, source.weight()) for name, source in sources.items())
    return _converted(model, sources)


def _sources(model: PreTrainedModel) -> dict[str, _Source]:
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    ignored = set(model._keys_to_ignore_on_save or ())
    names: dict[int, str] = {}
    sources: dict[str, _Source] = {}
    for full_name, tensor in model.state_dict(keep_vars=True).items():
        found = plain_name(model, full_name)
        if found is None or found[0] in ignored:
            continue
        name, layer = found
        twin = names.setdefault(id(tensor), name)
        if twin == name:
            sources[name] = _Source(tensor, layer)
        elif layer is not None or sources[twin].layer is not None:
            raise ValueError(
                f"LoRA adapts only one of the tied weights {twin} and {name}, so no checkpoint with tied weights equals the "
                "policy: take the head and the embeddings out of policy.lora.target_modules"
            )
        elif twin in tied and name not in tied:
            names[id(tensor)] = name
            sources[name] = sources.pop(twin)
    return sources


def _names_are_those_of_checkpoints(model: PreTrainedModel, sources: Mapping[str, _Source]) -> bool:
    """Return whether saving changes nothing; if it does, make sure that it can be done weight by weight."""
    outlines = {name: source.outline() for name, source in sources.items()}
    saved = revert_weight_conversion(model, dict(outlines))
    if saved.keys() == outlines.keys() and all(saved[name] is outline for name, outline in outlines.items()):
        return True
    alone = [
        (name, part.shape)
        for outline in outlines.items()
        for name, part in revert_weight_conversion(model, dict([outline])).items()
    ]
    if sorted(alone) != sorted((name, part.shape) for name, part in saved.items()):
        raise ValueError(
            f"checkpoints of {type(model).__name__} hold weights made of several of the model's own, which cannot be sent one by "
            "one: generate with EmbeddedEngine without a device of its own"
        )
    return False


def _converted(model: PreTrainedModel, sources: Mapping[str, _Source]) -> Iterator[tuple[str, Tensor]]:
    for name, source in sources.items():
        parts = revert_weight_conversion(model, {name: source.weight()})
        for part in list(parts):
            yield part, parts.pop(part)
