"""A function of a positive number, sampled on a log axis, with its kinks and jumps found numerically."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

NUM_POINTS = 601
HALVINGS = 20
SIDE = 1e-6
"""The two sides of a kink are read at this relative distance from it."""
SLOPE_STEP = 1e-4
"""Step, in log x, over which slopes on both sides of a kink are compared."""
MIN_SLOPE_CHANGE = 0.05
"""Least change of `dy / d log x`, relative to y, that counts as a kink."""
MIN_JUMP = 1e-3
"""Least jump, relative to y."""
SMALLEST = 0.05
"""Values below this are compared as if they were this large."""


class Kink(NamedTuple):
    """A place where the slope changes at once, or the value."""

    x: float
    below: float
    """Value just below `x`."""
    above: float
    """Value just above `x`."""

    @property
    def is_jump(self) -> bool:
        """True where the value changes, False where only the slope does."""
        return abs(self.above - self.below) > MIN_JUMP * max(SMALLEST, abs(self.above), abs(self.below))


@dataclass(frozen=True)
class Curve:
    """Points in ascending order; every kink is between two of them that are a millionth apart."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    kinks: tuple[Kink, ...] = ()

    @property
    def jumps(self) -> tuple[Kink, ...]:
        """The kinks at which the value changes."""
        return tuple(kink for kink in self.kinks if kink.is_jump)

    @property
    def segments(self) -> list[tuple[list[float], list[float]]]:
        """The points between two jumps each: what a line may connect."""
        edges = [-math.inf, *(jump.x for jump in self.jumps), math.inf]
        points = list(zip(self.x, self.y, strict=True))
        pieces = ([(x, y) for x, y in points if low < x <= high] for low, high in pairwise(edges))
        return [([x for x, _ in piece], [y for _, y in piece]) for piece in pieces if piece]


Function = Callable[[Float[Tensor, " X"]], Float[Tensor, " X"]]


def trace(function: Function, low: float, high: float, at: Sequence[float] = ()) -> Curve:
    """Sample a function from `low` to `high`, both positive, at equal steps of log x.

    Args:
        function: maps a vector of x to a vector of y, each y from its own x alone.
        low: first x.
        high: last x.
        at: further x that shall be among the points.
    """
    log_x = torch.linspace(math.log(low), math.log(high), NUM_POINTS, dtype=torch.float64)
    kinks = _find_kinks(function, log_x)
    sides = [kink.x * (1 + side) for kink in kinks for side in (-SIDE, SIDE)]
    wanted = sorted({*log_x.exp().tolist(), *(x for x in at if low <= x <= high)})
    apart = [x for x in wanted if all(abs(x / kink.x - 1) > SIDE for kink in kinks)]
    x = torch.tensor(sorted([*apart, *sides]), dtype=torch.float64)
    return Curve(tuple(x.tolist()), tuple(function(x).tolist()), tuple(kinks))


def _find_kinks(function: Function, log_x: Float[Tensor, " X"]) -> list[Kink]:
    """Return the kinks between the points, at most one in the neighbourhood of each."""
    step = float(log_x[1] - log_x[0])
    centre = log_x[1:-1]
    y, bend = _bend(function, centre, step)
    centre = centre[bend > 0.4 * MIN_SLOPE_CHANGE * step * y.abs().clamp(min=SMALLEST)]
    for _ in range(HALVINGS if len(centre) else 0):
        step /= 2
        shifts = torch.tensor([-step, 0.0, step], dtype=torch.float64)
        _, bends = _bend(function, (centre[:, None] + shifts).flatten(), step)
        centre = centre + shifts[bends.view(-1, 3).argmax(dim=1)]
    y, bend = _bend(function, centre, SLOPE_STEP)
    centre = centre[bend > MIN_SLOPE_CHANGE * SLOPE_STEP * y.abs().clamp(min=SMALLEST)].sort().values
    is_new = torch.diff(centre, prepend=centre.new_tensor([-math.inf])) > 2 * SLOPE_STEP
    x = centre[is_new].exp()
    below, above = function(x * (1 - SIDE)), function(x * (1 + SIDE))
    return [Kink(*values) for values in zip(x.tolist(), below.tolist(), above.tolist(), strict=True)]


def _bend(function: Function, centre: Float[Tensor, " X"], step: float) -> tuple[Float[Tensor, " X"], Float[Tensor, " X"]]:
    """Return y, and the size of its second difference in log x; 0 where y is not finite."""
    if not len(centre):
        return centre, centre
    left, middle, right = function(torch.cat([centre - step, centre, centre + step]).exp()).chunk(3)
    return middle, (left - 2 * middle + right).abs().nan_to_num(nan=0.0, posinf=0.0)
