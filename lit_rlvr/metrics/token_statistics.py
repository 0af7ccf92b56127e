"""Means and maxima of per-token statistics over all micro-batches and ranks."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lit_rlvr.metrics.named_means import NamedMeans


class TokenStatistics(NamedMeans):
    """Mean of each named statistic over the tokens it applies to, weighted by token, not by micro-batch.

    A token counts where the mask is True and the statistic is not NaN. An update launches a handful of kernels for all names
    together and never waits for the device.

    Args:
        names: the statistics to expect. An update may leave some out, but not bring others.
        maxima: those of the names whose largest value is reported too, as `<name>_max`.

    Raises:
        ValueError: for a repeated name, or a maximum that is not among the names.
    """

    largest: Tensor

    def __init__(self, names: Sequence[str], maxima: Sequence[str] = ()) -> None:
        super().__init__(names)
        if unknown := [name for name in maxima if name not in names]:
            raise ValueError(f"maxima must be among names={list(names)}, got {unknown}")
        self.maxima = tuple(maxima)
        floor = torch.full((len(maxima),), -torch.inf, dtype=torch.float64, device="cpu")
        self.add_state("largest", floor, dist_reduce_fx="max", persistent=True)

    @torch.no_grad()
    def update(self, statistics: Mapping[str, Float[Tensor, "B T"]], mask: Bool[Tensor, "B T"]) -> None:
        """Add the tokens of a micro-batch.

        Args:
            statistics: values per token; NaN where a statistic does not apply.
            mask: True on the tokens that count.

        Raises:
            ValueError: for a statistic that the constructor did not name.
        """
        if unknown := sorted(set(statistics) - set(self.names)):
            raise ValueError(f"unknown token statistics {unknown}: name them in TokenStatistics(names=...), now {self.names}")
        if not statistics:
            return
        given = [name for name in self.names if name in statistics]
        values = torch.stack([statistics[name] for name in given]).to(self.sums.dtype)
        counted = mask & ~values.isnan()
        self.sums = self.sums + _aligned(given, torch.where(counted, values, 0.0).sum(dim=(1, 2)), self.names, absent=0)
        self.counts = self.counts + _aligned(given, counted.sum(dim=(1, 2)), self.names, absent=0)
        peaked = [row for row, name in enumerate(given) if name in self.maxima]
        if peaked and mask.numel():
            peaks = torch.stack([torch.where(counted[row], values[row], -torch.inf).amax() for row in peaked])
            peaks = _aligned([given[row] for row in peaked], peaks, self.maxima, absent=-torch.inf)
            self.largest = torch.maximum(self.largest, peaks)

    def compute(self) -> dict[str, float]:
        """Return the mean of every statistic that has counted a token, then the maxima. Names without a token are left out."""
        means = super().compute()
        peaks = zip(self.maxima, self.largest.tolist(), strict=True)
        return means | {f"{name}_max": peak for name, peak in peaks if name in means}


def _aligned(given: Sequence[str], values: Tensor, names: Sequence[str], absent: float) -> Tensor:
    """Return one value for each of `names`: the given ones, and `absent` for the others."""
    by_name, filler = dict(zip(given, values.unbind(), strict=True)), values.new_full((), absent)
    return torch.stack([by_name.get(name, filler) for name in names])
