"""Means of named values that come out the same however the values are dealt to updates and ranks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric


def counting_dtype(device: torch.device) -> torch.dtype:
    """Return the type for sums over many tokens: double precision, but on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64


class NamedMeans(Metric):
    """Base of metrics that keep a sum and a count per name, in double precision whatever the module's precision.

    The state is saved in `state_dict`. A checkpoint of several ranks usually keeps the state dictionary of one of them: save
    `global_state()` and load it with `load_global_state()` to continue with what all ranks had counted.

    Args:
        names: the values to expect.
        sync_on_compute: whether `compute` adds up all ranks; False where every rank has counted everything.

    Raises:
        ValueError: for a repeated name.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor

    def __init__(self, names: Sequence[str], sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        if len(set(names)) != len(names):
            raise ValueError(f"names of statistics must differ, got {list(names)}")
        self.names = tuple(names)
        zeros = torch.zeros(len(names), dtype=torch.float64, device="cpu")
        self.add_state("sums", zeros, dist_reduce_fx="sum", persistent=True)
        self.add_state("counts", zeros.long(), dist_reduce_fx="sum", persistent=True)

    def compute(self) -> dict[str, float]:
        """Return the mean of every name that has counted a value; the others are left out."""
        counts = self.counts.tolist()
        means = (self.sums / self.counts).tolist()
        return {name: mean for name, mean, count in zip(self.names, means, counts, strict=True) if count}

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
        precision = counting_dtype(self.device)
        for name in self._defaults:
            default, own = cast(Tensor, self._defaults[name]), getattr(self, name)
            dtype = precision if default.is_floating_point() else torch.long
            self._defaults[name] = default.to(self.device, dtype)
            setattr(self, name, own.to(self.device, dtype))
        return self
