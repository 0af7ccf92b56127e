"""Numbers that describe the rollouts of one iteration, before any filter."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from lit_rlvr.types import Rollout, RolloutGroup


def rollout_statistics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Return means over all completions of the groups, under the names they are logged with.

    Shares are in [0, 1], lengths in tokens. What does not occur (the length of wrong completions when all are right) is left out.
    """
    rollouts = [r for group in groups for r in group.rollouts]
    judged = [r for r in rollouts if r.reward is not None]
    right = [r for r in judged if r.is_correct]
    wrong = [r for r in judged if not r.is_correct]
    accuracies = [fmean(r.is_correct for r in group.rollouts) for group in groups]
    means = {
        "rollout/reward": [r.reward for r in judged if r.reward is not None],
        "rollout/accuracy": [float(r.is_correct) for r in judged],
        "rollout/length": _lengths(rollouts),
        "rollout/length_correct": _lengths(right),
        "rollout/length_wrong": _lengths(wrong),
        "rollout/truncated": [float(r.completion.is_truncated) for r in rollouts],
        "rollout/errors": [float(r.reward is None) for r in rollouts],
        "rollout/solved_by_none": [float(a == 0) for a in accuracies],
        "rollout/solved_by_all": [float(a == 1) for a in accuracies],
        **_scores(rollouts),
    }
    return {name: fmean(values) for name, values in means.items() if values}


def _lengths(rollouts: Sequence[Rollout]) -> list[float]:
    return [float(len(r.completion.token_ids)) for r in rollouts]


def _scores(rollouts: Sequence[Rollout]) -> dict[str, list[float]]:
    """Return the scores of each reward function, errors left out."""
    scores: dict[str, list[float]] = defaultdict(list)
    for rollout in rollouts:
        for name, verdict in rollout.verdicts.items():
            if verdict.score is not None:
                scores[f"reward/{name}"].append(verdict.score)
    return scores
