"""Which rows go into which micro-batch: balanced token counts, little padding, the same plan on every rank."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor


def within_token_budget(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut rows, sorted by length, into runs whose padded size (rows times longest) stays within `budget` tokens.

    A row longer than the budget gets a run of its own.

    >>> within_token_budget([3, 9, 3, 2], budget=9)
    [[3, 0, 2], [1]]
    """
    runs: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if runs and (len(runs[-1]) + 1) * lengths[row] <= budget:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


def balanced_runs(lengths: Sequence[int], num_runs: int) -> list[list[int]]:
    """Split rows into exactly `num_runs` runs of similar padded size; a run is empty when there are too few rows.

    The rows are sorted by length, so that padding is small, and cut with the smallest token budget that needs no more than
    `num_runs` runs (found by bisection).

    >>> balanced_runs([4, 1, 1, 4, 2], num_runs=2)
    [[1, 2, 4], [0, 3]]
    """
    low, high = max(lengths, default=0), max(lengths, default=0) * len(lengths)
    while low < high:
        middle = (low + high) // 2
        if len(within_token_budget(lengths, middle)) <= num_runs:
            high = middle
        else:
            low = middle + 1
    runs = within_token_budget(lengths, high)
    return runs + [[] for _ in range(num_runs - len(runs))]


def pad_right(rows: Sequence[Sequence[float]], dtype: torch.dtype) -> Tensor:
    """Stack rows of different lengths into `[B, T]`, filled with zeros on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=dtype)


def shuffled(count: int, seed: int) -> Int[Tensor, " N"]:
    """Return a permutation of `range(count)` that depends on `seed` only, not on any global random state."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
