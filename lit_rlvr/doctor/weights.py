"""Whether new weights reach the engine."""

from lit_rlvr.doctor.agreement import Gap, allowed_gap, sample
from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, green, red, yellow
from lit_rlvr.doctor.patient import Patient
from lit_rlvr.doctor.perturbation import perturbation_size, perturbed, probes
from lit_rlvr.doctor.vocabulary import Vocabulary

SAMPLES = 8
"""Prompts of each sample."""


class WeightsArrive(Check):
    """Perturbs the policy's weights and looks whether the engine's log-probs follow, and come back with the weights.

    Every sample is of prompts that the engine has not seen before and that are too short for a cache, so that only its weights can
    be at fault.
    """

    name = "weights arrive"
    needs = (Vocabulary,)

    def run(self, patient: Patient) -> Finding:
        """Compare before a change, after it, and after it is undone."""
        patient.sync()
        before = sample(patient, probes(patient, "before", SAMPLES)).gap(patient)
        size, change = perturbation_size(patient)
        with perturbed(patient.policy, size):
            patient.sync()
            changed = sample(patient, probes(patient, "changed", SAMPLES))
            after = changed.gap(patient)
        to_old_weights = changed.gap(patient)
        patient.sync()
        restored = sample(patient, probes(patient, "restored", SAMPLES)).gap(patient)
        return _judge(allowed_gap(patient, before), change, before, after, to_old_weights, restored)


def _judge(allowed: float, change: float, before: Gap, after: Gap, to_old_weights: Gap, restored: Gap) -> Finding:
    moved = f"weights were changed so that the policy's log-probs moved by {change:.2g} nats"
    numbers = f"mean gap between engine and policy: {before} before, {after} after the change, {restored} when it was undone"
    if after.mean > allowed:
        old = to_old_weights.mean <= allowed
        whose = (
            "still the old ones: the update did nothing"
            if old
            else "neither the new nor the old ones: it updates a part of them"
        )
        mend = "RolloutEngine.update_weights must hand over every tensor that policy.named_weights() yields"
        return red(f"the engine's weights are {whose}", moved, numbers, mend=f"{mend}, each time it is called")
    if restored.mean > allowed:
        return red(
            "the engine kept changed weights after they had been changed back",
            moved,
            numbers,
            mend="RolloutEngine.update_weights must take over the weights each time it is called, not only when some look new to it",
        )
    if change < 3 * allowed:
        return yellow(f"no telling: {moved}, and up to {allowed:.2g} is rounding or an older gap", numbers)
    return green(f"{moved}, and the engine followed to within {max(after.mean, restored.mean):.2g}", numbers)
