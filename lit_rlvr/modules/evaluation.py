"""Accuracy on held-out problems, from evaluation batches."""

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_rlvr.metrics.accuracy import GroupAccuracy
from lit_rlvr.metrics.token_statistics import TokenStatistics
from lit_rlvr.types import EvalBatch


class EvaluationMetrics(torch.nn.Module):
    """avg@k, pass@k, greedy accuracy with 95 % intervals; length, truncation and verifier errors.

    A problem with a sample that could not be judged is left out of the accuracies; `errors` tells how often that was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.accuracies = torch.nn.ModuleDict()
        self.means = TokenStatistics(("length", "truncated", "errors"))

    def update(self, batch: EvalBatch) -> None:
        """Count a batch of problems."""
        usable = batch.is_real & batch.judged.all(dim=1)
        self._accuracy("sampled", batch.correct.shape[1]).update(batch.correct, usable)
        if batch.greedy_correct is not None:
            self._accuracy("greedy", 1).update(batch.greedy_correct[:, None], batch.is_real)
        values = {"length": batch.lengths.float(), "truncated": batch.truncated.float(), "errors": (~batch.judged).float()}
        self.means.update(values, batch.is_real[:, None].expand_as(batch.correct))

    def _accuracy(self, name: str, group_size: int) -> Metric:
        if name not in self.accuracies:
            self.accuracies[name] = GroupAccuracy(group_size).to(self.means.device)
        return self.accuracies[name]  # type: ignore[return-value]

    def compute_and_reset(self, stage: str) -> dict[str, float]:
        """Return the metrics over all ranks as `stage/name`, and start anew."""
        values: dict[str, float | Tensor] = dict(self.means.compute())
        for name, accuracy in self.accuracies.items():
            estimates: dict[str, float] = accuracy.compute()  # type: ignore[operator]
            values |= estimates if name == "sampled" else _renamed(estimates)
        self.accuracies.clear()
        self.means.reset()
        return {f"{stage}/{name}": float(value) for name, value in values.items()}


def _renamed(estimates: dict[str, float]) -> dict[str, float]:
    """Return the estimates of greedy decoding, where avg@1 and pass@1 are the same thing."""
    return {key.replace("avg@1", "greedy"): value for key, value in estimates.items() if key.startswith("avg@1")}
