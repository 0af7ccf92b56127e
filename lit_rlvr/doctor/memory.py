"""Whether a training step and a round of generation will fit into the device's memory."""

from dataclasses import dataclass

import torch

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.device_memory import most_taken, taken_and_total
from lit_rlvr.doctor.finding import Finding, green, red, yellow
from lit_rlvr.doctor.memory_estimate import (
    LargestMicroBatch,
    activation_bytes,
    generation_bytes,
    gradient_bytes,
    largest_micro_batch,
    optimizer_bytes,
)
from lit_rlvr.doctor.patient import Patient

TIGHT = 0.9
"""Share of the memory from which a forecast is too close to tell."""
MAX_OPERATIONS = {"cpu": 2e12, "cuda": 2e16}
"""Floating-point operations of a trial step, a minute or so: a longer one is estimated instead."""


@dataclass(frozen=True)
class Step:
    """What forward and backward pass of the largest micro-batch add to the memory: gradients, activations, logits."""

    bytes: int
    is_measured: bool


class Memory(Check):
    """Forecasts the peak for the configured lengths: what is taken now (weights, reference, an engine of its own, other programs), with
    what a step adds, or a round of generation, whichever is more.

    The largest micro-batch is tried where that is quick and seems to fit, and estimated otherwise.
    """

    name = "memory"

    def run(self, patient: Patient) -> Finding:
        """Add up."""
        device = patient.policy.device
        patient.engine.release_memory()
        patient.change_weights()
        memory = taken_and_total(device)
        if memory is None:
            return yellow(f"no telling how much memory {device} has")
        taken, total = memory
        batch = largest_micro_batch(patient)
        state, optimizer = optimizer_bytes(patient)
        # The processes of one machine share its memory; each has a GPU for itself.
        sharers = patient.trainer.world_size // patient.trainer.num_nodes if device.type == "cpu" else 1
        step = _step(patient, batch, room=(total - taken) // sharers - state)
        peak = taken + sharers * max(step.bytes + state, generation_bytes(patient) + state)
        each = f" for each of {sharers} processes" if sharers > 1 else ""
        how = "tried out" if step.is_measured else "estimated"
        parts = (
            f"{_gib(taken)} taken now (weights, engine, all else), {optimizer}: {_gib(state)}{each}; then {_gib(step.bytes)} for gradients "
            f"and activations of {batch.rows} rows of {batch.length} tokens ({how}) or {_gib(generation_bytes(patient))} for generation"
        )
        summary = f"at most {_gib(peak)} of {_gib(total)} on {device}"
        mend = (
            "raise trainer.accumulate_grad_batches (smaller micro-batches), set model.policy.gradient_checkpointing, shard with "
            "ModelParallelStrategy, lower data.sampling.max_tokens, or give the engine less"
        )
        if peak > total:
            return red(f"{summary}: it does not fit", parts, mend=mend)
        if peak > TIGHT * total:
            return yellow(f"{summary}: too close to tell", parts, mend=mend)
        return green(f"{summary}: {parts}")


def _step(patient: Patient, batch: LargestMicroBatch, room: int) -> Step:
    """Return what a step adds, tried out where it is quick and there is room for it."""
    estimate = activation_bytes(patient, batch) + gradient_bytes(patient)
    operations = 8.0 * batch.tokens * sum(parameter.numel() for parameter in patient.policy.parameters())
    device = patient.policy.device
    if estimate > room or operations > MAX_OPERATIONS.get(device.type, 0):
        return Step(estimate, is_measured=False)
    measured = most_taken(device, lambda: _try(patient, batch))
    return Step(estimate, is_measured=False) if measured is None else Step(measured, is_measured=True)


def _try(patient: Patient, batch: LargestMicroBatch) -> None:
    """Run forward and backward pass of a full micro-batch, and throw the gradients away."""
    policy = patient.policy
    tokens = (
        torch.arange(batch.tokens, device=policy.device).reshape(batch.rows, batch.length) % patient.model_config.vocab_size
    )
    everything = torch.ones_like(tokens, dtype=torch.bool)
    in_loss = everything.clone()
    in_loss[:, : max(patient.longest_prompt, 1)] = False
    entropy_gradient = any(term.needs_entropy_gradient for term in patient.module.terms)
    with torch.enable_grad(), patient.policy.forward_context():
        scores = policy(tokens, everything, in_loss, patient.data.sampling.temperature, with_entropy_gradient=entropy_gradient)
    scores.logprobs.sum().backward()
    for parameter in policy.parameters():
        parameter.grad = None


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 / 10 else f"{size / 2**20:.1f} MiB"
