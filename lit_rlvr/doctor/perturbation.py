"""Weights that are changed for a moment, and restored to the bit."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lit_rlvr.doctor.patient import Patient, local
from lit_rlvr.modules.policy import Policy
from lit_rlvr.seeding import derive_seed
from lit_rlvr.types import Prompt

ENOUGH = 0.5
"""Mean change of log-probs, in nats, that no rounding explains."""
SIZES = tuple(0.02 * 2**step for step in range(8))
"""Standard deviations of the noise, relative to the root mean square of each tensor, tried in this order."""
ZERO_SCALE = 0.02
"""Stands for the root mean square of a tensor of zeros, such as one half of a new adapter."""
PROBE_TOKENS = 12
"""Length of a probe: shorter than a block of any engine's prefix cache, so that none of it can come from one."""


@contextmanager
def perturbed(policy: Policy, size: float) -> Iterator[None]:
    """Add noise to every trainable weight, in place; afterwards the weights are what they were, bit for bit.

    The noise depends on the name of a tensor and on nothing else: copies of a model on several ranks stay equal. The originals wait
    in the machine's memory.
    """
    _reshard(policy)
    tensors = {name: local(p) for name, p in policy.named_parameters() if p.requires_grad and local(p).numel()}
    originals = {name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}
    try:
        for name, tensor in tensors.items():
            _add_noise(tensor, size, derive_seed("doctor", name))
        yield
    finally:
        _reshard(policy)
        for name, tensor in tensors.items():
            tensor.copy_(originals[name])


def perturbation_size(patient: Patient) -> tuple[float, float]:
    """Return the smallest of `SIZES` that moves the policy's log-probs of a fixed sample enough, and how far it moves them."""
    if patient.perturbation is not None:
        return patient.perturbation
    prompts = [prompt.token_ids for prompt in probes(patient, "size", 4)]
    completions = [prompt.token_ids for prompt in probes(patient, "size, completions", 4)]
    before = torch.tensor(patient.policy.token_logprobs(prompts, completions, 1.0))
    size, change = SIZES[0], 0.0
    for size in SIZES:
        with perturbed(patient.policy, size):
            after = torch.tensor(patient.policy.token_logprobs(prompts, completions, 1.0))
        change = float((after - before).abs().mean())
        if change >= ENOUGH:
            break
    patient.perturbation = size, change
    return size, change


def probes(patient: Patient, purpose: str, count: int) -> list[Prompt]:
    """Return prompts of pseudo-random tokens; another purpose has others, which no engine can have seen."""
    vocabulary = min(len(patient.tokenizer), patient.model_config.vocab_size)
    generator = torch.Generator().manual_seed(derive_seed("doctor", purpose))
    tokens = torch.randint(vocabulary, (count, PROBE_TOKENS), generator=generator).tolist()
    return [Prompt(f"{purpose} {number}", (), token_ids=tuple(row)) for number, row in enumerate(tokens)]


def _add_noise(tensor: torch.Tensor, size: float, seed: int) -> None:
    generator = torch.Generator(device=tensor.device).manual_seed(seed)
    noise = torch.randn(tensor.shape, generator=generator, device=tensor.device, dtype=torch.float32)
    scale = float(tensor.float().square().mean().sqrt()) or ZERO_SCALE
    tensor.add_((noise * (size * scale)).to(tensor.dtype))


def _reshard(policy: Policy) -> None:
    """Let nothing keep whole copies of sharded weights, which would not see a change of the shards."""
    with policy.unsharded():
        pass
