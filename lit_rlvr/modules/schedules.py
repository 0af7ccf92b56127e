"""Learning-rate schedules with linear warm-up, as torch schedulers for YAML."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class ConstantWithWarmup(LambdaLR):
    """Linear warm-up, then the optimizer's learning rate for good (both papers' RL schedule).

    Args:
        optimizer: the optimizer to drive.
        warmup_steps: steps until the full learning rate; the first step already uses `1 / warmup_steps` of it.
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int = 0) -> None:
        super().__init__(optimizer, lambda step: _warmup(step, warmup_steps))


class CosineToMinimum(LambdaLR):
    """Linear warm-up, then a half cosine down to a share of the learning rate, then constant.

    Klear-Reasoner's SFT goes from 8e-5 to 4e-5: `min_ratio=0.5`.

    Args:
        optimizer: the optimizer to drive.
        total_steps: step at which the minimum is reached.
        warmup_steps: steps until the full learning rate.
        min_ratio: final learning rate as a share of the full one.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, min_ratio: float = 0.0) -> None:
        def factor(step: int) -> float:
            cosine = 0.5 * (1 + math.cos(math.pi * _progress(step, warmup_steps, total_steps)))
            return _warmup(step, warmup_steps) * (min_ratio + (1 - min_ratio) * cosine)

        super().__init__(optimizer, factor)


class LinearToMinimum(LambdaLR):
    """Linear warm-up, then a straight line down to a share of the learning rate, then constant.

    Args:
        optimizer: the optimizer to drive.
        total_steps: step at which the minimum is reached.
        warmup_steps: steps until the full learning rate.
        min_ratio: final learning rate as a share of the full one.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, min_ratio: float = 0.0) -> None:
        def factor(step: int) -> float:
            decayed = 1 - (1 - min_ratio) * _progress(step, warmup_steps, total_steps)
            return _warmup(step, warmup_steps) * decayed

        super().__init__(optimizer, factor)


def _warmup(step: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def _progress(step: int, warmup_steps: int, total_steps: int) -> float:
    """Share of the decay that is done: 0 until the warm-up ends, 1 from `total_steps` on."""
    if total_steps <= warmup_steps:
        raise ValueError(f"total_steps ({total_steps}) must be larger than warmup_steps ({warmup_steps})")
    return min(max(step - warmup_steps, 0) / (total_steps - warmup_steps), 1.0)
