"""Whether the members of a group differ."""

import math
from collections.abc import Sequence

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, green, red, yellow
from lit_rlvr.doctor.patient import Patient
from lit_rlvr.doctor.verifiers import Verifiers
from lit_rlvr.doctor.vocabulary import Vocabulary
from lit_rlvr.types import Completion

CERTAIN = 0.5
"""Mean probability of a whole completion above which equal members are the policy's doing."""


class GroupMembersDiffer(Check):
    """Samples a few groups as configured and counts the completions that differ: equal ones have no advantage over each other."""

    name = "group members differ"
    needs = (Vocabulary, Verifiers)

    def run(self, patient: Patient) -> Finding:
        """Count distinct completions."""
        groups = [[rollout.completion for rollout in group.rollouts] for group in patient.groups]
        if len(groups[0]) < 2:
            return yellow("no telling: data.iteration.group_size is 1")
        shares = [len({c.token_ids for c in members}) / len(members) for members in groups]
        same = [members for members in groups if len({c.token_ids for c in members}) == 1]
        share = sum(shares) / len(shares)
        numbers = f"{len(groups)} groups of {len(groups[0])} completions at {_sampling(patient)}: {share:.0%} are distinct"
        if len(same) == len(groups):
            probability = sum(_probability(members) for members in groups) / len(groups)
            certain = f"the policy itself is nearly certain (probability of a whole completion: {probability:.0%})"
            seeds = f"chance does not explain it (probability of a whole completion: {probability:.1g})"
            mend = (
                "raise data.sampling.temperature, or take prompts that the policy does not yet master"
                if probability > CERTAIN
                else "the engine must sample each member with its own seed and at the temperature that it is given"
            )
            return red(
                f"{numbers}: all members of every group are the same", certain if probability > CERTAIN else seeds, mend=mend
            )
        if same:
            return green(f"{numbers}; in {len(same)} of the groups all members are the same")
        return green(numbers)


def _probability(members: Sequence[Completion]) -> float:
    """Return the mean probability of the completions, as the engine has sampled them."""
    return sum(math.exp(min(sum(c.logprobs), 0.0)) for c in members) / len(members)


def _sampling(patient: Patient) -> str:
    sampling = patient.sampling
    truncation = [f"top_p {sampling.top_p:g}"] * (sampling.top_p < 1) + [f"top_k {sampling.top_k}"] * (sampling.top_k > 0)
    return ", ".join([f"temperature {sampling.temperature:g}", *truncation])
