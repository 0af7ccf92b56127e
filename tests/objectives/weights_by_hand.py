"""The gradient weight `w` of every objective and variant, written out by hand: d loss / d logprob = -A w.

`w` is a function of the ratio, the sign of the advantage and the entropy class, for a response whose tokens all have one ratio
(so that a mean over the response is that ratio, too).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from lit_rlvr.objectives import (
    ASPO,
    CISPO,
    GPPO,
    GRPO,
    GSPO,
    REINFORCE,
    Archer,
    HighEntropyRange,
    NoImportanceSampling,
    PolicyObjective,
    PositiveMeanIS,
)

Weight = Callable[[float, int, bool], float]
INF = math.inf


def grpo(low: float, high: float, dual: float = INF) -> Weight:
    def weight(r: float, sign: int, is_high: bool) -> float:
        if sign > 0:
            return 0.0 if r > 1 + high else r
        return 0.0 if r < 1 - low or r > dual else r

    return weight


def gppo(low: float, high: float, beta1: float = 1.0, beta2: float = 1.0, dual: float = INF) -> Weight:
    def weight(r: float, sign: int, is_high: bool) -> float:
        if sign > 0:
            return beta2 * (1 + high) if r > 1 + high else r
        if r < 1 - low:
            return beta1 * (1 - low)
        return 0.0 if r > dual else r

    return weight


def cispo(lowest: float, highest: float) -> Weight:
    return lambda r, sign, is_high: max(lowest, min(r, highest))


def aspo(low: float, high: float, dual: float = INF, weight_of_cut_negatives: float = 0.0) -> Weight:
    def weight(r: float, sign: int, is_high: bool) -> float:
        if sign > 0:
            return 0.0 if r > 1 + high else min(1 / r, dual)
        if r < 1 - low:
            return 0.0
        return weight_of_cut_negatives if r > dual else r

    return weight


def by_class(of_low_entropy: Weight, of_high_entropy: Weight) -> Weight:
    return lambda r, sign, is_high: (of_high_entropy if is_high else of_low_entropy)(r, sign, is_high)


def clip_mask(low: float, high: float) -> Weight:
    return lambda r, sign, is_high: 0.0 if (sign > 0 and r > 1 + high) or (sign < 0 and r < 1 - low) else 1.0


class Case(NamedTuple):
    objective: PolicyObjective
    weight: Weight
    kinks: tuple[float, ...]
    """Ratios where `w` jumps or bends, for some sign and class."""
    quantile: float = 0.8
    """Of the entropies, where the high-entropy class begins."""


ODD = HighEntropyRange(clip_low=0.5, clip_high=0.6, quantile=0.5)
WIDE = HighEntropyRange(clip_low=0.4, clip_high=0.4, quantile=0.8)

CASES = [
    Case(GRPO(), grpo(0.2, 0.2), (0.8, 1.2)),
    Case(GRPO(clip_high=0.28), grpo(0.2, 0.28), (0.8, 1.28)),
    Case(GRPO(clip_low=0.4, clip_high=0.28, dual_clip=10.0), grpo(0.4, 0.28, dual=10), (0.6, 1.28, 10)),
    Case(GRPO(dual_clip=1.0), grpo(0.2, 0.2, dual=1), (0.8, 1.0, 1.2)),
    Case(GPPO(), gppo(0.2, 0.28), (0.8, 1.28)),
    Case(GPPO(dual_clip=10.0), gppo(0.2, 0.28, dual=10), (0.8, 1.28, 10)),
    Case(GPPO(dual_clip=1.0), gppo(0.2, 0.28, dual=1), (0.8, 1.0, 1.28)),
    Case(GPPO(clip_low=0.4, clip_high=0.5), gppo(0.4, 0.5), (0.6, 1.5)),
    Case(GPPO(clip_high=0.2, beta1=0.5), gppo(0.2, 0.2, beta1=0.5), (0.8, 1.2)),
    Case(GPPO(0.2, 0.2, beta1=0.25, beta2=0.75, dual_clip=10.0), gppo(0.2, 0.2, 0.25, 0.75, dual=10), (0.8, 1.2, 10)),
    Case(CISPO(), cispo(0.8, 1.28), (0.8, 1.28)),
    Case(CISPO(clip_low=0.5, clip_high=1.0), cispo(0.5, 2.0), (0.5, 2.0)),
    Case(CISPO(clip_low=None, clip_high=4.0), cispo(0.0, 5.0), (5.0,)),
    Case(ASPO(), aspo(0.2, 0.2, 3, 3), (1 / 3, 0.8, 1.2, 3)),
    Case(ASPO(clip_low=0.4, clip_high=0.5, dual_clip=5.0), aspo(0.4, 0.5, 5, 5), (0.2, 0.6, 1.5, 5)),
    Case(ASPO(soft_negative_dual_clip=False), aspo(0.2, 0.2, 3, 0), (1 / 3, 0.8, 1.2, 3)),
    Case(ASPO(dual_clip=None), aspo(0.2, 0.2), (0.8, 1.2)),
    Case(ASPO(dual_clip=1.0), aspo(0.2, 0.2, 1, 1), (0.8, 1.0, 1.2)),
    Case(
        ASPO(high_entropy=WIDE),
        by_class(aspo(0.2, 0.2, 3, 3), aspo(0.4, 0.4, 3, 3)),
        (1 / 3, 0.6, 0.8, 1.2, 1.4, 3),
    ),
    Case(
        ASPO(0.1, 0.3, dual_clip=4.0, soft_negative_dual_clip=False, high_entropy=ODD),
        by_class(aspo(0.1, 0.3, 4, 0), aspo(0.5, 0.6, 4, 0)),
        (0.25, 0.5, 0.9, 1.3, 1.6, 4),
        quantile=0.5,
    ),
    Case(Archer(), by_class(grpo(0.2, 0.2), grpo(0.5, 0.5)), (0.5, 0.8, 1.2, 1.5)),
    Case(Archer(dual_clip=10.0), by_class(grpo(0.2, 0.2, 10), grpo(0.5, 0.5, 10)), (0.5, 0.8, 1.2, 1.5, 10)),
    Case(
        Archer(0.1, 0.3, high_entropy=ODD, dual_clip=1.0),
        by_class(grpo(0.1, 0.3, 1), grpo(0.5, 0.6, 1)),
        (0.5, 0.9, 1.0, 1.3, 1.6),
        quantile=0.5,
    ),
    Case(Archer(high_entropy=None), grpo(0.2, 0.2), (0.8, 1.2)),
    Case(GSPO(), grpo(3e-4, 4e-4), (1 - 3e-4, 1 + 4e-4)),
    Case(GSPO(clip_low=0.1, clip_high=0.2), grpo(0.1, 0.2), (0.9, 1.2)),
    Case(PositiveMeanIS(), grpo(0.2, 0.2), (0.8, 1.2)),
    Case(PositiveMeanIS(mean="geometric", clip_low=0.3, clip_high=0.4), grpo(0.3, 0.4), (0.7, 1.4)),
    Case(PositiveMeanIS(keep_clip_mask=False), grpo(0.2, INF), (0.8,)),
    Case(PositiveMeanIS(mean="geometric", keep_clip_mask=False), grpo(0.2, INF), (0.8,)),
    Case(NoImportanceSampling(), clip_mask(0.2, 0.2), (0.8, 1.2)),
    Case(NoImportanceSampling(keep_clip_mask=False), clip_mask(INF, INF), ()),
    Case(REINFORCE(), clip_mask(INF, INF), ()),
    Case(REINFORCE(importance_weight=True), grpo(INF, INF), ()),
]
