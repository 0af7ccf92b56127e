"""Whether the engine's log-probs are those of the policy, as configured."""

from collections.abc import Mapping
from dataclasses import replace

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, green, red, yellow
from lit_rlvr.doctor.patient import Patient
from lit_rlvr.doctor.verifiers import Verifiers
from lit_rlvr.doctor.vocabulary import Vocabulary
from lit_rlvr.rollout_gap import GapBounds
from lit_rlvr.types import LogprobSemantics, RolloutBatch

UNBOUNDED = GapBounds(warn=None, stop=None)
SMALL = 1e-3
"""Mean gap, in nats, below which nothing needs an explanation."""


class LogprobGap(Check):
    """Scores a few collected groups with the policy, and holds the gap to the engine's log-probs against `data.gap_bounds`.

    Also asks whether the engine's numbers are those of another distribution than it says: `softmax(logits)` without the temperature.
    """

    name = "log-prob gap"
    needs = (Vocabulary, Verifiers)

    def run(self, patient: Patient) -> Finding:
        """Measure."""
        semantics = {rollout.completion.semantics for group in patient.groups for rollout in group.rollouts}
        if semantics != {patient.sampling.semantics}:
            return red(
                f"asked for was {patient.sampling.semantics}; the engine's log-probs are, as it says, of {_listed(semantics)}",
                mend="the engine must obey the SamplingParams that it is given, and report log-probs of what it samples from",
            )
        batch, bounds = patient.batch, patient.data.gap_bounds
        if not batch.is_gap_defined:
            return yellow("no telling with top_p or top_k: the engine's log-probs are of the kept tokens, the policy's of all")
        stats = UNBOUNDED.check(batch).stats
        mean, tokens = stats["rollout/gap_mean"], int(batch.loss_mask.sum())
        numbers = (
            f"mean e^|d| {stats['rollout/gap_exp']:.4g}, mean |d| {mean:.2g}, largest {stats['rollout/gap_max']:.2g}, "
            f"k3 {stats['rollout/gap_k3']:.2g} nats over {tokens} tokens at temperature {batch.temperature:g}"
        )
        if mean > SMALL and (raw := _gap_without_temperature(patient, batch)) < mean / 3:
            return red(
                f"the engine's log-probs are those of softmax(logits), not of what it sampled from at temperature {batch.temperature:g}",
                numbers,
                f"compared without temperature: mean |d| {raw:.2g}",
                mend="report processed log-probs (vLLM: logprobs_mode='processed_logprobs'), or sample at temperature 1",
            )
        return _against_bounds(stats, bounds, numbers)


def _listed(semantics: set[LogprobSemantics]) -> str:
    return " and ".join(sorted(map(str, semantics)))


def _gap_without_temperature(patient: Patient, batch: RolloutBatch) -> float:
    if batch.temperature == 1:
        return float("inf")
    return float(UNBOUNDED.check(patient.policy.score(replace(batch, temperature=1.0))).stats["rollout/gap_mean"])


def _against_bounds(stats: Mapping[str, float], bounds: GapBounds, numbers: str) -> Finding:
    nonfinite, gap = int(stats["rollout/gap_nonfinite"]), stats["rollout/gap_exp"]
    mend = (
        "'weights arrive' and 'caches reset' below tell whose weights the engine has; otherwise give it the policy's precision"
    )
    if nonfinite:
        return red(f"{nonfinite} tokens have a log-prob that is not finite, in the engine or in the policy", numbers, mend=mend)
    if bounds.stop is not None and gap > bounds.stop:
        return red(f"the run would stop: {numbers}, above data.gap_bounds.stop={bounds.stop:g}", mend=mend)
    if bounds.warn is not None and gap > bounds.warn:
        return yellow(f"the run would warn: {numbers}, above data.gap_bounds.warn={bounds.warn:g}", mend=mend)
    return green(numbers)
