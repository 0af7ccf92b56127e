"""How far the engine's log-probs are from the policy's, on what the engine has just generated."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lit_rlvr.doctor.patient import Patient
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.seeding import derive_seed
from lit_rlvr.types import Completion, Prompt

ROUNDING = {torch.float64: 2e-3, torch.float32: 2e-3}
"""Mean gap, in nats, that the precision of the forward passes explains."""
ROUNDING_OF_HALF = 0.05
SAMPLING = SamplingParams(max_tokens=8)
"""Of the whole distribution at temperature 1: whether its log-probs are processed makes no difference."""


@dataclass(frozen=True)
class Gap:
    """Distance of two sets of log-probs, in nats."""

    mean: float
    largest: float

    def __str__(self) -> str:
        return f"{self.mean:.2g} (largest {self.largest:.2g})"


@dataclass(frozen=True)
class Sample:
    """Completions from the weights that the engine held, with its log-probs."""

    prompts: list[tuple[int, ...]]
    completions: list[Completion]

    def gap(self, patient: Patient) -> Gap:
        """Return the distance to the log-probs of the policy's current weights. A collective."""
        own = patient.policy.token_logprobs(self.prompts, [c.token_ids for c in self.completions], SAMPLING.temperature)
        ours = torch.tensor([value for row in own for value in row], dtype=torch.float64)
        theirs = torch.tensor([value for c in self.completions for value in c.logprobs], dtype=torch.float64)
        # What is not finite is as far away as can be.
        distance = (ours - theirs).abs().nan_to_num(nan=torch.inf)
        return Gap(float(distance.mean()), float(distance.max()))


def sample(patient: Patient, prompts: Sequence[Prompt]) -> Sample:
    """Generate one completion per prompt; the same prompts are always sampled with the same seeds."""
    seeds = [[derive_seed("doctor", prompt.id)] for prompt in prompts]
    rows = patient.generate(prompts, SAMPLING, seeds)
    return Sample([prompt.token_ids for prompt in prompts], [completion for row in rows for completion in row])


def allowed_gap(patient: Patient, before: Gap) -> float:
    """Return the mean gap that rounding explains, given what it was before anything was changed."""
    return max(ROUNDING.get(patient.policy.compute_dtype, ROUNDING_OF_HALF), 3 * before.mean)
