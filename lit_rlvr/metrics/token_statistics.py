"""Means and maxima of per-token statistics over all micro-batches and ranks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchmetrics import Metric


class TokenStatistics(Metric):
    """Mean of each named statistic over the tokens it applies to, weighted by token, not by micro-batch.

    A token counts where the mask is True and the statistic is not NaN. Sums are kept in double precision whatever the module's
    precision. An update launches a handful of kernels for all names together and never waits for the device.

    The state is saved in `state_dict`. A checkpoint of several ranks usually keeps the state dictionary of one of them: save
    `global_state()` and load it with `load_global_state()` to continue with what all ranks had counted.

    Args:
        names: the statistics to expect. An update may leave some out, but not bring others.
        maxima: those of the names whose largest value is reported too, as `<name>_max`.

    Raises:
        ValueError: for a repeated name, or a maximum that is not among the names.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor
    largest: Tensor

    def __init__(self, names: Sequence[str], maxima: Sequence[str] = ()) -> None:
        super().__init__()
        if len(set(names)) != len(names):
            raise ValueError(f"names of token statistics must differ, got {list(names)}")
        if unknown := [name for name in maxima if name not in names]:
            raise ValueError(f"maxima must be among names={list(names)}, got {unknown}")
        self.names = tuple(names)
        self.maxima = tuple(maxima)
        self._rows_of_maxima = [self.names.index(name) for name in self.maxima]
        self.add_state(
            "sums", torch.zeros(len(names), dtype=torch.float64, device="cpu"), dist_reduce_fx="sum", persistent=True
        )
        self.add_state("counts", torch.zeros(len(names), dtype=torch.long, device="cpu"), dist_reduce_fx="sum", persistent=True)
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
        absent = torch.full((), torch.nan, device=mask.device).expand(mask.shape)
        values = torch.stack([statistics.get(name, absent).float() for name in self.names])
        counted = mask & ~values.isnan()
        self.sums = self.sums + torch.where(counted, values, 0.0).sum(dim=(1, 2), dtype=self.sums.dtype)
        self.counts = self.counts + counted.sum(dim=(1, 2))
        if self.maxima and mask.numel():
            peaks = torch.stack([torch.where(counted[i], values[i], -torch.inf).amax() for i in self._rows_of_maxima])
            self.largest = torch.maximum(self.largest, peaks.to(self.largest.dtype))

    def compute(self) -> dict[str, float]:
        """Return the mean of every statistic that has counted a token, then the maxima. Names without a token are left out."""
        counts = self.counts.tolist()
        means = (self.sums / self.counts).tolist()
        result = {name: mean for name, mean, count in zip(self.names, means, counts, strict=True) if count}
        peaks = zip(self.maxima, self.largest.tolist(), strict=True)
        return result | {f"{name}_max": peak for name, peak in peaks if name in result}

    def global_state(self) -> dict[str, Tensor]:
        """Return the state over all ranks, on the CPU. Every rank must call it."""
        with self.sync_context(should_unsync=True):
            return {name: getattr(self, name).detach().cpu().clone() for name in self._defaults}

    def load_global_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `global_state()`: rank 0 takes it over, the others start at nothing, so their sum is the state."""
        self.reset()
        if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
            self.load_state_dict(dict(state))
        self._update_count = 1

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for name in self._defaults:
            saved, own = state_dict.get(prefix + name), getattr(self, name)
            if saved is None:
                continue
            if saved.shape != own.shape:
                raise ValueError(
                    f"the saved {prefix}{name} holds {len(saved)} statistics but this run has {len(own)} "
                    f"({list(self.names)}): resume with the objective that wrote the checkpoint"
                )
            # The base class would adopt the tensor as it is, on the device it was loaded to.
            state_dict[prefix + name] = saved.to(own.device, own.dtype)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._computed = None
        self._update_count = max(self._update_count, 1)

    def _apply(self, fn: Callable, exclude_state: Sequence[str] = "") -> nn.Module:
        """Follow the module to its device, but not to its precision: a half-precision sum of tokens stops growing."""
        super()._apply(fn, exclude_state=tuple(self._defaults))
        precision = torch.float32 if self.device.type == "mps" else torch.float64
        for name in self._defaults:
            default, own = cast(Tensor, self._defaults[name]), getattr(self, name)
            dtype = precision if default.is_floating_point() else torch.long
            self._defaults[name] = default.to(self.device, dtype)
            setattr(self, name, own.to(self.device, dtype))
        return self
