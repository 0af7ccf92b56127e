"""Numbers that describe the rollouts of one iteration, before any filter."""

from collections import Counter
from collections.abc import Mapping, Sequence

from lit_rlvr.metrics.rollout_dynamics import RolloutDynamics
from lit_rlvr.types import RolloutGroup


def rollout_statistics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Return the values of `RolloutDynamics` over all groups of the iteration, which every rank has.

    Shares are in [0, 1], lengths in tokens. What does not occur (the length of wrong completions when all are right) is left out.
    """
    names = dict.fromkeys(name for group in groups for rollout in group.rollouts for name in rollout.verdicts)
    dynamics = RolloutDynamics(tuple(names), sync_on_compute=False)
    dynamics.update(groups)
    return dynamics.compute()


def token_versions(groups: Sequence[RolloutGroup]) -> Counter[int]:
    """Return the number of tokens that each version of the weights has generated."""
    versions: Counter[int] = Counter()
    for completion in (rollout.completion for group in groups for rollout in group.rollouts):
        if completion.token_versions:
            versions.update(completion.token_versions)
        else:
            versions[completion.weight_version] += len(completion.token_ids)
    return versions


def staleness_statistics(versions: Mapping[int, int], starts: Mapping[int, int], iteration: int) -> dict[str, float]:
    """Return how far behind the policy the weights were that generated the tokens of an iteration.

    - `rollout/staleness_mean`, `rollout/staleness_max`: optimizer steps that the policy has taken since, at the start of the
      iteration, over tokens
    - `rollout/staleness_iterations`: iterations between the one in whose time the oldest token was generated and this one

    Args:
        versions: number of tokens of each version.
        starts: version of the policy at the start of iterations, this one and those before.
        iteration: which one is about to be trained on.
    """
    now, oldest = starts[iteration], min(versions)
    steps = sum((now - version) * tokens for version, tokens in versions.items())
    begun = max((i for i, start in starts.items() if start <= oldest), default=min(starts))
    return {
        "rollout/staleness_mean": steps / max(sum(versions.values()), 1),
        "rollout/staleness_max": float(now - oldest),
        "rollout/staleness_iterations": float(iteration - begun),
    }
