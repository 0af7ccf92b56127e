"""Which groups are trained on. A group is judged after errors and filtered completions have left it."""

from abc import ABC, abstractmethod

from lit_rlvr.types import RolloutGroup


class GroupFilter(ABC):
    """Decides whether a scored group takes part in the iteration."""

    @abstractmethod
    def keep(self, group: RolloutGroup) -> bool:
        """Return True to train on the group."""


class ZeroAdvantageFilter(GroupFilter):
    """Drops groups whose rewards are all equal: their advantages, and so their policy gradients, are 0 (DAPO)."""

    def keep(self, group: RolloutGroup) -> bool:
        """Return True when at least two rewards differ."""
        return len(set(group.rewards)) > 1


class MixedAccuracyFilter(GroupFilter):
    """Keeps groups with right *and* wrong completions, or a single survivor (Klear-Reasoner's filter on accuracy).

    It looks at correctness, not at the reward: with soft code rewards a group without a perfect completion is dropped even
    when its rewards differ.
    """

    def keep(self, group: RolloutGroup) -> bool:
        """Return True when correctness varies, or only one completion is left."""
        return len(group.rollouts) == 1 or len({r.is_correct for r in group.rollouts}) > 1


class AllZeroOrAllOneFilter(GroupFilter):
    """Drops groups whose rewards are all exactly 0 or all exactly 1 (Archer2.0).

    An overlong penalty takes rewards off these values: an all-wrong group with one penalized completion is kept.
    """

    def keep(self, group: RolloutGroup) -> bool:
        """Return False when every reward is 0 or every reward is 1."""
        return set(group.rewards) not in ({0.0}, {1.0})


class MeanAccuracyFilter(GroupFilter):
    """Keeps groups whose share of correct completions lies within bounds, both included (Klear-Reasoner's upper bound).

    Args:
        min_accuracy: lowest share kept.
        max_accuracy: highest share kept.
    """

    def __init__(self, min_accuracy: float = 0.0, max_accuracy: float = 1.0) -> None:
        if not 0 <= min_accuracy <= max_accuracy <= 1:
            raise ValueError(f"need 0 <= min_accuracy <= max_accuracy <= 1, got {min_accuracy} and {max_accuracy}")
        self.min_accuracy = min_accuracy
        self.max_accuracy = max_accuracy

    def keep(self, group: RolloutGroup) -> bool:
        """Return True when the share of correct completions is within the bounds."""
        accuracy = sum(r.is_correct for r in group.rollouts) / len(group.rollouts)
        return self.min_accuracy <= accuracy <= self.max_accuracy
