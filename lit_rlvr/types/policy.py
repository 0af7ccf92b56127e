"""What the side of experience may ask of the side of gradients."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lit_rlvr.types.batches import RolloutBatch


@runtime_checkable
class RolloutPolicy(Protocol):
    """What the side of experience may ask of the policy that is being trained."""

    model: nn.Module
    """The Hugging Face causal LM, for engines that generate in the trainer's process."""

    def forward_context(self) -> AbstractContextManager[Any]:
        """Return the trainer's precision (autocast), for forwards outside `training_step`."""
        ...

    def unsharded(self) -> AbstractContextManager[None]:
        """Return a context in which every rank holds all weights. Entering it is collective."""
        ...

    @property
    def compute_dtype(self) -> torch.dtype:
        """The type that its matrix products are computed in: that of the trainer's autocast, or of the weights."""
        ...

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each weight under its name in a Hugging Face checkpoint, whole and one at a time: sharded weights are gathered (every
        rank must iterate to the end), adapters are merged, tied weights come once.
        """
        ...

    def token_logprobs(
        self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], temperature: float
    ) -> list[list[float]]:
        """Return the log-prob of each token of each completion after its prompt, under `softmax(logits / temperature)`."""
        ...

    def score(self, batch: RolloutBatch) -> RolloutBatch:
        """Return the batch with `old_logprobs` (and `ref_logprobs`, where a term needs them) filled in."""
        ...
