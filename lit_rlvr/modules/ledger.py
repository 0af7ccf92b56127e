"""The books of an optimizer step: what its loss weights add up to on all ranks, against what they should."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_rlvr.metrics.named_means import counting_dtype
from lit_rlvr.types import RolloutBatch, SFTBatch, StepTotals

RELATIVE_TOLERANCE = 1e-5
"""Single-precision weights of one step may add up to this much more or less. Tokens and sequences are counted exactly."""


class NormalizationError(RuntimeError):
    """The loss weights of an optimizer step do not add up to what its reduction says."""


@dataclass(frozen=True)
class StepEntry:
    """One optimizer step in the books, over all ranks and micro-batches."""

    step: int
    """Number of the optimizer step, from 0."""
    numerator: float
    """Sum of the token losses in the units of the denominator: divided by it, the loss."""
    denominator: float
    """What the reduction divides by: tokens, sequences, or the stated constant."""
    tokens: int
    """Tokens that were trained on."""
    sequences: int
    """Completions that were trained on."""


class NormalizationLedger:
    """Adds up an optimizer step as it is really trained on, micro-batch by micro-batch, and checks it over all ranks.

    It catches micro-batches that were lost, doubled, or mixed with another step's, and weights that were scaled on the way: a
    wrong denominator stops the run instead of changing the learning rate.
    """

    def __init__(self) -> None:
        self.latest: StepEntry | None = None
        self._counted: Tensor | None = None
        self._totals = StepTotals()

    @torch.no_grad()
    def add(self, batch: SFTBatch | RolloutBatch, loss: Tensor) -> None:
        """Count a micro-batch, without waiting for the device.

        Args:
            batch: the micro-batch.
            loss: its share of the loss of the step, before any scaling.
        """
        has_weight = batch.loss_weights != 0
        dtype = counting_dtype(loss.device)
        entries = (has_weight.sum(), has_weight.any(dim=1).sum(), batch.loss_weights.sum(dtype=dtype), loss.detach())
        counted = torch.stack([entry.to(dtype) for entry in entries])
        self._counted = counted if self._counted is None else self._counted + counted
        self._totals = batch.totals

    def close(self, step: int, sum_over_ranks: Callable[[Tensor], Tensor]) -> StepEntry:
        """Check the step, enter it as `latest`, and start the next one. Every rank must call it.

        Args:
            step: number of the optimizer step.
            sum_over_ranks: adds a tensor up over all ranks.

        Raises:
            NormalizationError: the sums differ from the totals that the batches carry.
        """
        assert self._counted is not None, "a step without micro-batches has no books to close"
        tokens, sequences, weight, loss = sum_over_ranks(self._counted).tolist()
        expected, self._counted = self._totals, None
        for name, counted, promised, tolerance in (
            ("tokens", tokens, expected.tokens, 0.0),
            ("sequences", sequences, expected.sequences, 0.0),
            ("sum of loss weights", weight, expected.weight, RELATIVE_TOLERANCE * expected.weight),
        ):
            if not abs(counted - promised) <= tolerance:
                raise NormalizationError(
                    f"optimizer step {step}: {name} over all ranks and micro-batches is {counted:.10g}, but the step was made for "
                    f"{promised:.10g}. Was a micro-batch dropped, repeated or re-weighted, or does trainer.accumulate_grad_batches "
                    "differ from what the DataModule was set up with?"
                )
        self.latest = StepEntry(step, loss * expected.denominator, expected.denominator, int(tokens), int(sequences))
        return self.latest
