"""How much memory a training step will need, from sizes alone.

Per rank, in bytes, with `N` tokens of the largest micro-batch (padding included), `L` layers, hidden size `H`, inner width `F` of the
MLP, `A` query and `K` key-value heads of size `D`, vocabulary `V`, and elements of `w` bytes (weights) and `c` bytes (computing):

- weights, gradients: their elements times `w`; of sharded weights, this rank's part
- optimizer state: as many bytes to a byte of weights as the optimizer's own class makes for a small matrix (AdamW: 2 x)
- activations: `N L (8 H w + (4 H + 4 (A + 2 K) D + 4 F) c)`; with gradient checkpointing `N L H w` and those of one layer
- logits: 4 tensors `[min(N, chunk), V]` in float32
- keys and values of the embedded engine: `2 R T L K D c` for `R` rows decoded at once, each of `T` tokens
"""

import inspect
import math
from dataclasses import dataclass

import torch

from lit_rlvr.doctor.patient import Patient
from lit_rlvr.rollout.embedded import EmbeddedEngine

TOY = (64, 64)
"""Shape of the matrix that is given to an optimizer of the same class, to see what state it makes."""


@dataclass(frozen=True)
class LargestMicroBatch:
    """Every prompt as long as the longest, every completion as long as allowed."""

    rows: int
    length: int

    @property
    def tokens(self) -> int:
        """Tokens, padding included."""
        return self.rows * self.length


def largest_micro_batch(patient: Patient) -> LargestMicroBatch:
    """Return the rows of a micro-batch and their tokens."""
    config = patient.data.iteration
    per_step = config.num_prompts * config.group_size / config.num_mini_batches
    rows = math.ceil(per_step / (patient.trainer.world_size * patient.trainer.accumulate_grad_batches))
    return LargestMicroBatch(rows, longest_sequence(patient))


def longest_sequence(patient: Patient) -> int:
    """Return the tokens of the longest prompt with the longest completion."""
    length = patient.longest_prompt + patient.data.sampling.max_tokens
    return length if patient.max_positions is None else min(length, patient.max_positions)


def gradient_bytes(patient: Patient) -> int:
    """Return the bytes of this rank's gradients; DDP holds a second set of them in its buckets."""
    once = sum(tensor.numel() * tensor.element_size() for tensor in patient.weight_tensors.values())
    return once * (2 if "DDP" in type(patient.trainer.strategy).__name__ else 1)


def optimizer_bytes(patient: Patient) -> tuple[int, str]:
    """Return the bytes of this rank's optimizer state, and what they are."""
    weights = sum(tensor.numel() * tensor.element_size() for tensor in patient.weight_tensors.values())
    optimizer = patient.trainer.optimizers[0]
    factor = state_factor(optimizer)
    name = type(optimizer).__name__
    if factor is None:
        return 2 * weights, f"{name} (taken for 2 x the weights)"
    return round(factor * weights), f"{name} {factor:.2g} x the weights"


def state_factor(optimizer: torch.optim.Optimizer) -> float | None:
    """Return the elements of state to an element of weights, from one step of the same optimizer on a small matrix; None if that fails."""
    kind, toy = type(optimizer), torch.nn.Parameter(torch.zeros(TOY))
    accepted = inspect.signature(kind).parameters
    try:
        copy = kind([toy], **{name: value for name, value in optimizer.defaults.items() if name in accepted})
        toy.grad = torch.ones(TOY)
        copy.step()
    except (TypeError, RuntimeError, ValueError):
        return None
    tensors = [value for value in copy.state[toy].values() if isinstance(value, torch.Tensor) and value.numel() > 1]
    return sum(tensor.numel() for tensor in tensors) / toy.numel()


def activation_bytes(patient: Patient, batch: LargestMicroBatch) -> int:
    """Return the bytes of activations and logits in the forward and backward pass of a micro-batch."""
    config, policy = patient.model_config, patient.policy
    hidden, layers = config.hidden_size, config.num_hidden_layers
    heads, kv_heads, head_dim = _heads(patient)
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    w, c = policy.dtype.itemsize, policy.compute_dtype.itemsize
    layer = 8 * hidden * w + (4 * hidden + 4 * (heads + 2 * kv_heads) * head_dim + 4 * inner) * c
    kept = layers * hidden * w + layer if policy.config.gradient_checkpointing else layers * layer
    logits = 4 * min(batch.tokens, policy.config.chunk_size) * config.vocab_size * 4
    return batch.tokens * kept + logits


def generation_bytes(patient: Patient) -> int:
    """Return the bytes that the embedded engine needs while it generates; other engines have taken theirs already."""
    if not isinstance(patient.engine, EmbeddedEngine) or patient.engine.device not in (None, str(patient.policy.device)):
        return 0
    config, data, ranks = patient.model_config, patient.data, patient.trainer.world_size
    rows = min(patient.engine.max_batch_size, math.ceil(data.iteration.num_prompts / ranks) * data.iteration.group_size)
    _, kv_heads, head_dim = _heads(patient)
    cache = (
        2
        * rows
        * longest_sequence(patient)
        * config.num_hidden_layers
        * kv_heads
        * head_dim
        * patient.policy.compute_dtype.itemsize
    )
    whole = sum(parameter.numel() * parameter.element_size() for parameter in patient.policy.parameters())
    gathered = (
        whole - sum(tensor.numel() * tensor.element_size() for tensor in patient.weight_tensors.values()) if ranks > 1 else 0
    )
    return cache + 3 * rows * config.vocab_size * 4 + max(gathered, 0)


def _heads(patient: Patient) -> tuple[int, int, int]:
    """Return query heads, key-value heads, and the size of one."""
    config = patient.model_config
    heads = config.num_attention_heads
    return (
        heads,
        getattr(config, "num_key_value_heads", None) or heads,
        getattr(config, "head_dim", None) or config.hidden_size // heads,
    )
