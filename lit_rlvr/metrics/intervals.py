"""95 % intervals of accuracies, where the *problem* is the unit that was drawn at random.

Completions of one problem resemble each other, so counting them as independent draws makes intervals far too narrow. Both
intervals here see one number per problem.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its interval.

    >>> print(Estimate(0.5, 0.25, 0.75))
    0.500 [0.250, 0.750]
    """

    value: float
    """The point estimate."""
    low: float
    """Lower bound of the interval."""
    high: float
    """Upper bound of the interval."""

    def to_dict(self) -> dict[str, float]:
        """Return `{"value", "low", "high"}`, the form of result files."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson_interval(successes: float, total: int, confidence: float = 0.95) -> Estimate:
    """Score interval of a share of problems (Wilson 1927), for values that are 0 or 1 per problem.

    It holds its level near 0 and 1 and for few problems, where the normal interval collapses. `successes` may be a sum of
    values inside [0, 1]: their variance is at most that of a binary value with the same mean, so the interval is then
    conservative.

    Args:
        successes: how many problems succeeded, between 0 and `total`.
        total: how many problems there are.
        confidence: share of intervals that shall contain the truth.

    Raises:
        ValueError: when `total` is not positive or `successes` is outside its range.

    >>> print(wilson_interval(0, 10))
    0.000 [0.000, 0.278]
    """
    if total <= 0:
        raise ValueError(f"an interval needs at least one problem, got total={total}")
    if not 0 <= successes <= total:
        raise ValueError(f"successes must lie between 0 and total={total}, got {successes}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / total
    scale = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / scale
    half_width = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    # Rounding must not push the bounds past the value they enclose (exactly 0 or 1 at the ends).
    return Estimate(share, max(0.0, min(centre - half_width, share)), min(1.0, max(centre + half_width, share)))


def bootstrap_interval(
    values: Float[Tensor, " P"], num_resamples: int = 10_000, seed: int = 0, confidence: float = 0.95
) -> Estimate:
    """Percentile bootstrap of the mean over problems (Efron & Tibshirani 1993, ch. 13), for shares inside [0, 1].

    The result depends on the multiset of values and the seed, not on the order of the problems: resampling a problem set is a
    multinomial draw over its distinct values.

    Resampling equal values yields equal means: with every problem at 0 (or 1) the bootstrap would claim certainty after any
    number of problems. Where all values are equal the conservative Wilson interval is returned instead.

    Args:
        values: one value in [0, 1] per problem.
        num_resamples: how many problem sets are drawn.
        seed: seeds the draws; same values and seed, same interval.
        confidence: share of intervals that shall contain the truth.

    Raises:
        ValueError: without problems, or for a value outside [0, 1].
    """
    array = values.detach().to("cpu", torch.float64).numpy()
    if array.size == 0:
        raise ValueError("an interval needs at least one problem, got none")
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"bootstrap values must lie in [0, 1], got minimum {array.min()} and maximum {array.max()}")
    distinct, counts = np.unique(array, return_counts=True)
    if len(distinct) == 1:
        return wilson_interval(float(distinct[0]) * array.size, array.size, confidence)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(array.size, counts / array.size, size=num_resamples)
    means = draws @ distinct / array.size
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(counts @ distinct / array.size), float(low), float(high))
