"""Whether the engine forgets what it computed with old weights."""

from dataclasses import replace
from itertools import cycle, islice

from lit_rlvr.doctor.agreement import SAMPLING, allowed_gap, sample
from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, green, red, yellow
from lit_rlvr.doctor.patient import Patient
from lit_rlvr.doctor.perturbation import perturbation_size, perturbed
from lit_rlvr.doctor.weights import WeightsArrive
from lit_rlvr.types import Prompt

LENGTH = 400
"""Tokens of a prompt, where the model takes as many: three blocks of 128, the largest block of vLLM's prefix cache."""
BLOCK = 128
PROMPTS = 4


class CachesReset(Check):
    """Asks for the very same long prompts before a change of the weights, after it, and after it is undone.

    Keys and values of a prompt's beginning, or whole results, that outlive an update give log-probs of no policy at all.
    """

    name = "caches reset"
    needs = (WeightsArrive,)

    def run(self, patient: Patient) -> Finding:
        """Compare with the policy each time."""
        prompts = long_prompts(patient)
        patient.sync()
        first = sample(patient, prompts)
        before = first.gap(patient)
        size, change = perturbation_size(patient)
        with perturbed(patient.policy, size):
            patient.sync()
            second = sample(patient, prompts)
            after = second.gap(patient)
        patient.sync()
        restored = sample(patient, prompts).gap(patient)
        allowed, length = allowed_gap(patient, before), len(prompts[0].token_ids)
        numbers = (
            f"mean gap between engine and policy: {before} before, {after} after the change, {restored} when it was undone"
        )
        if max(after.mean, restored.mean) > allowed:
            whole = [c.logprobs for c in first.completions] == [c.logprobs for c in second.completions]
            what = "results" if whole else "keys and values"
            return red(
                f"prompts of {length} tokens that were seen before a change of the weights are answered with {what} of the old ones",
                numbers,
                mend="reset every cache of the engine in update_weights (vLLM: reset_prefix_cache), or switch caching off",
            )
        if change < 3 * allowed:
            return yellow(
                f"no telling: the change moved the policy's log-probs by {change:.2g}, rounding explains {allowed:.2g}", numbers
            )
        if length <= BLOCK:
            return yellow(
                f"prompts of {length} tokens, all that the model takes, are no whole block of {BLOCK}; those were answered anew"
            )
        return green(
            f"prompts of {length} tokens are answered anew after each change, to within {max(after.mean, restored.mean):.2g}",
            numbers,
        )


def long_prompts(patient: Patient) -> list[Prompt]:
    """Return training prompts, made longer than any block by repeating their tokens."""
    room = patient.max_positions - SAMPLING.max_tokens if patient.max_positions is not None else LENGTH
    length = max(min(LENGTH, room), 1)
    return [
        replace(prompt, id=f"long {prompt.id}", token_ids=tuple(islice(cycle(prompt.token_ids), length)))
        for prompt in patient.first_prompts(PROMPTS)
    ]
