"""avg@k and pass@k over groups of completions, with intervals, exact under any sharding of the problems."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torchmetrics import Metric

from lit_rlvr.metrics.intervals import Estimate, bootstrap_interval, wilson_interval


def pass_at_k(num_correct: int, num_samples: int, k: int) -> float:
    """Probability that `k` of a problem's samples, drawn without replacement, contain a correct one.

    `1 - C(n - c, k) / C(n, k)`, the unbiased estimator of Chen et al. 2021 (arXiv:2107.03374, eq. 1), in exact integers.

    Raises:
        ValueError: unless `0 <= num_correct <= num_samples` and `1 <= k <= num_samples`.

    >>> pass_at_k(num_correct=1, num_samples=4, k=2)
    0.5
    """
    if not 0 <= num_correct <= num_samples:
        raise ValueError(f"num_correct must lie between 0 and num_samples={num_samples}, got {num_correct}")
    if not 1 <= k <= num_samples:
        raise ValueError(f"k must lie between 1 and num_samples={num_samples}, got {k}")
    return 1 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


class GroupAccuracy(Metric):
    """avg@n and pass@k of groups with `n = group_size` completions per problem.

    The only state is a histogram: how many problems have 0, 1, ..., n correct completions. It holds all that the values *and*
    their intervals depend on, and its sum over ranks is exact, so the result does not depend on how problems are sharded.

    Args:
        group_size: completions per problem, the `n` of avg@n. With 1 it measures greedy decoding.
        pass_k: the `k` of every pass@k to report, each at most `group_size`; empty reports pass@n.
        num_resamples: bootstrap resamples of an interval.
        seed: seed of the bootstrap.

    Raises:
        ValueError: for a group size below 1 or a `k` outside `1..group_size`.
    """

    full_state_update = False
    higher_is_better = True
    histogram: Tensor

    def __init__(self, group_size: int, pass_k: Sequence[int] = (), num_resamples: int = 10_000, seed: int = 0) -> None:
        super().__init__()
        if group_size < 1:
            raise ValueError(f"group_size must be at least 1, got {group_size}")
        if invalid := [k for k in pass_k if not 1 <= k <= group_size]:
            raise ValueError(f"pass_k must lie between 1 and group_size={group_size}, got {invalid}")
        self.group_size = group_size
        self.pass_k = tuple(pass_k) or (group_size,)
        self.num_resamples = num_resamples
        self.seed = seed
        self.add_state("histogram", torch.zeros(group_size + 1, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, is_correct: Bool[Tensor, "P G"], weights: Int[Tensor, " P"] | Bool[Tensor, " P"] | None = None) -> None:
        """Count the problems of a batch.

        Args:
            is_correct: one row per problem, one column per completion.
            weights: 1 for real problems, 0 for those that only pad a rank's share; all 1 when omitted.

        Raises:
            ValueError: when a row does not have `group_size` columns.
        """
        if is_correct.shape[1] != self.group_size:
            raise ValueError(f"expected {self.group_size} completions per problem (group_size), got {is_correct.shape[1]}")
        num_correct = is_correct.sum(dim=1)
        ones = torch.ones_like(num_correct) if weights is None else weights.to(num_correct)
        self.histogram = self.histogram.index_add(0, num_correct, ones)

    def compute(self) -> dict[str, float]:
        """Return `avg@n`, `pass@k` and their bounds `..._low`, `..._high`, ready for `log_dict`.

        Raises:
            ValueError: when no problem has been counted.
        """
        flat: dict[str, float] = {}
        for name, estimate in self._estimates().items():
            flat |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return flat

    def estimates(self) -> dict[str, Estimate]:
        """Return `avg@n` and `pass@k` over all ranks, each with its 95 % interval. Every rank must call it."""
        flat = self.compute()
        names = [name for name in flat if not name.endswith(("_low", "_high"))]
        return {name: Estimate(flat[name], flat[f"{name}_low"], flat[f"{name}_high"]) for name in names}

    def num_problems(self) -> int:
        """Return how many problems this rank has counted, padding left out."""
        return int(self.histogram.sum())

    def _estimates(self) -> dict[str, Estimate]:
        if self.num_problems() == 0:
            raise ValueError("GroupAccuracy has counted no problem: update it with at least one of weight 1 before compute")
        n = self.group_size
        estimates = {f"avg@{n}": self._estimate([c / n for c in range(n + 1)])}
        for k in self.pass_k:
            estimates[f"pass@{k}"] = self._estimate([pass_at_k(c, n, k) for c in range(n + 1)])
        return estimates

    def _estimate(self, values: list[float]) -> Estimate:
        """Mean over problems of `values[c]`, `c` the problem's number of correct completions."""
        histogram = self.histogram.cpu()
        per_problem = torch.tensor(values, dtype=torch.float64).repeat_interleave(histogram)
        if set(values) <= {0.0, 1.0}:
            return wilson_interval(float(per_problem.sum()), len(per_problem))
        return bootstrap_interval(per_problem, self.num_resamples, self.seed)
