"""Numbers that describe the rollouts of one iteration, before any filter."""

from collections.abc import Sequence

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
