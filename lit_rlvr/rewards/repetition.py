"""How much a completion repeats itself, and a penalty for it."""

from collections.abc import Hashable, Sequence

from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.rewards.self_test import SelfTest
from lit_rlvr.types import Completion, Prompt, Verdict


def repetition_rate(items: Sequence[Hashable], n: int = 20) -> float:
    """Share of n-grams that occurred before in the same sequence: `(total - distinct) / total`.

    0 for sequences with fewer than `n` items. Rises when a policy collapses into loops (training dynamics of ASPO,
    arXiv:2510.06062, which uses 20-grams of words).

    Args:
        items: token ids or words of one completion.
        n: length of an n-gram.

    Raises:
        ValueError: when `n` is below 1.

    >>> repetition_rate([1, 2, 1, 2, 1], n=2)
    0.5
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    total = len(items) - n + 1
    if total <= 0:
        return 0.0
    items = tuple(items)
    distinct = len({items[i : i + n] for i in range(total)})
    return (total - distinct) / total


def text_repetition_rate(text: str, n: int = 20) -> float:
    """Repetition rate of a text's lower-case words, split at white space.

    >>> text_repetition_rate("so we So we so", n=2)
    0.5
    """
    return repetition_rate(text.lower().split(), n)


class RepetitionPenalty(RewardFunction):
    """Costs the share of word n-grams that occurred before in the completion, above a share that is free.

    0 up to `free_share`, then falling linearly to `-factor` where every n-gram is a repetition. Penalties on repeated n-grams keep
    long chains of thought from being stretched with loops (arXiv:2502.03373); open-r1 charges the same share, for 3-grams.
    Formulas and tables repeat short n-grams for good reasons: short ones need a `free_share`.

    Args:
        n: words of an n-gram.
        free_share: share of repeated n-grams that costs nothing.
        factor: the penalty for nothing but repetition.

    Raises:
        ValueError: `n` is below 1, `free_share` is not in [0, 1), or `factor` is not positive.
    """

    def __init__(self, n: int = 20, free_share: float = 0.0, factor: float = 1.0) -> None:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if not 0 <= free_share < 1:
            raise ValueError(f"free_share must be at least 0 and below 1, got {free_share}")
        if not factor > 0:
            raise ValueError(f"factor must be positive, got {factor}; leave the penalty out to switch it off")
        self.n = n
        self.free_share = free_share
        self.factor = factor

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Return the penalty, between `-factor` and 0."""
        rate = text_repetition_rate(completion.text, self.n)
        return Verdict(-self.factor * max(rate - self.free_share, 0.0) / (1 - self.free_share), f"{rate:.1%} repeated")

    def self_test(self, prompt: Prompt) -> SelfTest:
        """Return a text without repetition, and one that is nothing else."""
        return SelfTest("1 2 3", "1 " * (20 * self.n), "1 " * 100_000)
