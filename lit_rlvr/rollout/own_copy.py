"""A copy of the policy for the embedded engine alone, so that it can generate while the policy is trained."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.auto import AutoModelForCausalLM

from lit_rlvr.rollout.decoding import causal_lm_of
from lit_rlvr.rollout.held_weights import HeldWeights
from lit_rlvr.rollout.step_lock import StepLock
from lit_rlvr.types import RolloutPolicy


class OwnCopy(HeldWeights):
    """A model of its own on one device, refreshed weight by weight: merged where there are adapters, whole where there are shards.

    Weights keep the policy's type, and under autocast its compute type is that of the policy, so that log-probs agree. Matrices that
    autocast would convert at every step, to the same bits each time, are kept in the compute type.

    Generation and updates take turns: an update lands between two decoding steps and is whole by the next. Generation touches
    neither the trainer's module nor any state of torch that other threads see.

    Args:
        device: where the copy lives.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._lock = StepLock()
        self._autocast: torch.dtype | None = None
        self._matrices: frozenset[str] = frozenset()

    def update(self, policy: RolloutPolicy, version: int) -> None:
        """Copy the policy's weights, one at a time. Collective where they are in shards.

        Raises:
            ValueError: names or shapes are not those of the policy's own model.
        """
        if not hasattr(self, "model"):
            original = causal_lm_of(policy.model)
            self._autocast = _autocast_dtype(policy, original.device.type)
            twin = _outline(original)
            if self._autocast is not None:
                self._matrices = _convert_matrices(twin, self._autocast)
            self.model = _allocate(twin, original, self.device)
        with self._lock.update():
            self.version = -1
            _load(self.model, policy.named_weights(), self._matrices)
            self.version = version

    @contextmanager
    def sampling(self, attention: str | None) -> Iterator[None]:
        """Set the copy's own attention function, and precision and gradients of this thread."""
        inner = causal_lm_of(self.model)
        config, before = inner.config, inner.config._attn_implementation
        # Kernels of other packages start on the current device, which every thread has of its own.
        current = torch.cuda.device(inner.device) if inner.device.type == "cuda" else nullcontext()
        config._attn_implementation = attention or before
        try:
            with current, torch.no_grad(), _thread_autocast(inner.device.type, self._autocast):
                yield
        finally:
            config._attn_implementation = before

    @contextmanager
    def step(self) -> Iterator[int]:
        """Keep updates out for one decoding step.

        Raises:
            ValueError: the last update has failed.
        """
        with self._lock.step():
            if self.version < 0:
                raise ValueError("the engine's weights are incomplete, because their last update failed")
            yield self.version


def _autocast_dtype(policy: RolloutPolicy, kind: str) -> torch.dtype | None:
    """Return the type that the trainer's autocast computes in; None without autocast."""
    with policy.forward_context():
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def _outline(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model like `model` without memory. No random numbers are drawn."""
    config = copy.deepcopy(model.config)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=model.dtype, attn_implementation=config._attn_implementation)


def _convert_matrices(twin: PreTrainedModel, dtype: torch.dtype) -> frozenset[str]:
    """Give the matrices that only linear layers read the type that autocast multiplies them in, and return their names."""
    embeddings = twin.get_input_embeddings().weight
    names = set()
    for path, module in twin.named_modules():
        if type(module) is nn.Linear and module.weight is not embeddings:
            module.to(dtype)
            names |= {f"{path}.{name}" for name, _ in module.named_parameters()}
    return frozenset(names)


def _allocate(twin: PreTrainedModel, model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """Give an outline memory on a device; its weights are still to be set."""
    twin.to_empty(device=device)
    twin.tie_weights()
    # Tables that no checkpoint holds (rotary frequencies) were never computed on the meta device.
    buffers = dict(model.named_buffers())
    for name, buffer in twin.named_buffers():
        buffer.copy_(buffers[name])
    return twin.eval().requires_grad_(False)


@torch.no_grad()
def _load(model: nn.Module, named: Iterable[tuple[str, Tensor]], matrices: frozenset[str]) -> None:
    targets = model.state_dict(keep_vars=True)
    missing = {id(target): name for name, target in targets.items()}
    for name, tensor in named:
        target = targets.get(name)
        if target is None or target.shape != tensor.shape:
            expected = "no such weight" if target is None else f"one of shape {tuple(target.shape)}"
            raise ValueError(
                f"the policy sent the weight {name} of shape {tuple(tensor.shape)}, and the engine's {type(model).__name__} has "
                f"{expected}: this architecture needs EmbeddedEngine without a device of its own"
            )
        if target.dtype != tensor.dtype and name not in matrices:
            # Some architectures keep a few weights more precise than the others.
            target.data = torch.empty_like(target, dtype=tensor.dtype)
        target.copy_(tensor)
        missing.pop(id(target), None)
        # While the next one is gathered, this one would still be alive.
        del tensor
    if missing:
        raise ValueError(
            f"the policy sent no weight {next(iter(missing.values()))}, which the engine's {type(model).__name__} has"
        )


@contextmanager
def _thread_autocast(kind: str, dtype: torch.dtype | None) -> Iterator[None]:
    """Compute in `dtype` as `torch.autocast` does (None: without it), in this thread only.

    Casts are remembered for all threads together: leaving an outermost autocast anywhere forgets those of a forward that is under
    way elsewhere. So nothing is remembered here, and nothing forgotten.
    """
    before = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind), torch.is_autocast_cache_enabled()
    _set_autocast(kind, dtype is not None, dtype or before[1], False)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        torch.autocast_decrement_nesting()
        _set_autocast(kind, *before)


def _set_autocast(kind: str, is_enabled: bool, dtype: torch.dtype, is_cache_enabled: bool) -> None:
    torch.set_autocast_enabled(kind, is_enabled)
    torch.set_autocast_dtype(kind, dtype)
    torch.set_autocast_cache_enabled(is_cache_enabled)
