"""How much a completion repeats itself."""

from collections.abc import Hashable, Sequence


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
