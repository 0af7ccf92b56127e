"""What the policy writes: rewards, lengths, repetition, and how hard the problems are for it, before any filter."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from lit_rlvr.metrics.named_means import NamedMeans
from lit_rlvr.rewards.repetition import text_repetition_rate
from lit_rlvr.types import Rollout, RolloutGroup

OF_COMPLETIONS = (
    *("reward", "accuracy", "errors", "length", "length_correct", "length_wrong"),
    *("truncated", "truncated_correct", "truncated_wrong", "repetition", "repetition_correct", "repetition_wrong"),
)
PASS_RATES = ("pass_rate_0", "pass_rate_1_25", "pass_rate_26_50", "pass_rate_51_75", "pass_rate_76_99", "pass_rate_100")
OF_GROUPS = ("solved_by_none", "solved_by_all", "reward_std", "pass_rate", *PASS_RATES)


class RolloutDynamics(NamedMeans):
    """Means over completions and over groups. A completion is judged unless a verifier failed on it; then it is right or wrong.

    | name | unit | mean over | of |
    |---|---|---|---|
    | `rollout/reward` | | judged completions | the reward |
    | `rollout/accuracy` | share | judged completions | right |
    | `rollout/errors` | share | completions | not judged |
    | `rollout/length` | tokens | completions | length, the stop token included |
    | `rollout/truncated` | share | completions | cut by the limit of tokens |
    | `rollout/repetition` | share | completions | 20-grams of words that occurred before in the same completion |
    | `rollout/pass_rate` | share | groups | right ones among the judged completions |
    | `rollout/pass_rate_0`, `_1_25`, `_26_50`, `_51_75`, `_76_99`, `_100` | share | groups | see below |
    | `rollout/solved_by_none`, `rollout/solved_by_all` | share | groups | pass rate 0, pass rate 1 |
    | `rollout/reward_std` | | groups | deviation of the rewards, `G - 1` in the denominator, of at least two judged completions |
    | `reward/<function>` | | completions | the score of one reward function, its errors left out |

    `length`, `truncated` and `repetition` have variants `_correct` and `_wrong` over the right and the wrong completions. The pass rates
    are a histogram in percent, its shares sum to 1: exactly 0, above 0 and up to 1/4, up to 1/2, up to 3/4, below 1, exactly 1.
    Groups without a judged completion are left out of the means over groups. A mean over nothing is left out.

    Sources: ASPO (arXiv 2510.06062, section 4) for the repetition rate, which its code splits by the sign of the score and we by
    correctness; DAPO (arXiv 2503.14476) for the groups that all or none solve.

    Args:
        reward_functions: names of the reward functions whose scores are averaged.
        sync_on_compute: whether `compute` adds up all ranks; False where every rank has counted every group.
    """

    def __init__(self, reward_functions: Sequence[str] = (), sync_on_compute: bool = True) -> None:
        names = [f"rollout/{name}" for name in (*OF_COMPLETIONS, *OF_GROUPS)]
        super().__init__([*names, *(f"reward/{name}" for name in reward_functions)], sync_on_compute)

    def update(self, groups: Sequence[RolloutGroup]) -> None:
        """Count groups.

        Raises:
            ValueError: a completion was judged by a reward function that the constructor was not told of.
        """
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        named = {f"rollout/{name}": values for name, values in (_of_completions(rollouts) | _of_groups(groups)).items()}
        named |= _scores(rollouts)
        if unknown := sorted(set(named) - set(self.names)):
            raise ValueError(
                f"unknown statistics {unknown}: name the reward functions in RolloutDynamics(reward_functions=...)"
            )
        columns = [named.get(name, []) for name in self.names]
        self.sums = self.sums + self.sums.new_tensor([math.fsum(values) for values in columns])
        self.counts = self.counts + self.counts.new_tensor([len(values) for values in columns])


def _of_completions(rollouts: Sequence[Rollout]) -> dict[str, list[float]]:
    judged = [i for i, r in enumerate(rollouts) if r.reward is not None]
    subsets: dict[str, Iterable[int]] = {
        "": range(len(rollouts)),
        "_correct": [i for i in judged if rollouts[i].is_correct],
        "_wrong": [i for i in judged if not rollouts[i].is_correct],
    }
    measured = {
        "length": [float(len(r.completion.token_ids)) for r in rollouts],
        "truncated": [float(r.completion.is_truncated) for r in rollouts],
        "repetition": [text_repetition_rate(r.completion.text) for r in rollouts],
    }
    return {
        "reward": [r.reward for r in rollouts if r.reward is not None],
        "accuracy": [float(rollouts[i].is_correct) for i in judged],
        "errors": [float(r.reward is None) for r in rollouts],
        **{f"{name}{of}": [values[i] for i in rows] for name, values in measured.items() for of, rows in subsets.items()},
    }


def _of_groups(groups: Sequence[RolloutGroup]) -> dict[str, list[float]]:
    judged = [[r.is_correct for r in group.rollouts if r.reward is not None] for group in groups]
    rates = [(sum(verdicts), len(verdicts)) for verdicts in judged if verdicts]
    bins = [_quarter(right, total) for right, total in rates]
    return {
        "pass_rate": [right / total for right, total in rates],
        "solved_by_none": [float(right == 0) for right, _ in rates],
        "solved_by_all": [float(right == total) for right, total in rates],
        "reward_std": [_deviation(group.rewards) for group in groups if len(group.rewards) > 1],
        **{name: [float(chosen == i) for chosen in bins] for i, name in enumerate(PASS_RATES)},
    }


def _quarter(right: int, total: int) -> int:
    """Return the position in `PASS_RATES`, in integers: 0, one of four quarters of the rates between, 1."""
    return 5 if right == total else min(math.ceil(4 * right / total), 4)


def _deviation(rewards: Sequence[float]) -> float:
    mean = fmean(rewards)
    return math.sqrt(math.fsum((reward - mean) ** 2 for reward in rewards) / (len(rewards) - 1))


def _scores(rollouts: Sequence[Rollout]) -> dict[str, list[float]]:
    """Return the scores of each reward function, errors left out."""
    scores: dict[str, list[float]] = {}
    for rollout in rollouts:
        for name, verdict in rollout.verdicts.items():
            if verdict.score is not None:
                scores.setdefault(f"reward/{name}", []).append(verdict.score)
    return scores
