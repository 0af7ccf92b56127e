"""The weights that the embedded engine generates from."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from lit_rlvr.rollout.decoding import causal_lm_of
from lit_rlvr.types import RolloutPolicy


class HeldWeights(ABC):
    """A causal LM to generate from, and what must hold while it does."""

    model: nn.Module
    """The transformers causal LM, adapters around it included. There is none before the first update."""
    version: int = -1
    """Version of the weights; -1 when there are none, or when an update has failed."""

    @abstractmethod
    def update(self, policy: RolloutPolicy, version: int) -> None:
        """Take over the policy's weights."""

    @abstractmethod
    def sampling(self, attention: str | None) -> AbstractContextManager[None]:
        """Return the context of a generation: evaluation mode, no gradients, the trainer's precision, the attention function named
        (None: the model's own).
        """

    @abstractmethod
    def step(self) -> AbstractContextManager[int]:
        """Return the context of one decoding step, in which the weights do not change; it yields their version."""


class TrainersModule(HeldWeights):
    """The very module that is being trained, between its training steps."""

    def update(self, policy: RolloutPolicy, version: int) -> None:
        """Remember the policy; nothing is copied."""
        self.model, self.version = policy.model, version
        self._policy = policy

    @contextmanager
    def sampling(self, attention: str | None) -> Iterator[None]:
        """Switch the trainer's module to generation, gather its shards once, and put everything back at the end."""
        model = self.model
        config = causal_lm_of(model).config
        training = [module for module in model.modules() if module.training]
        before = config._attn_implementation
        try:
            model.eval()
            config._attn_implementation = attention or before
            # no_grad, not inference_mode: inference tensors left in a module's buffers would break the next training step.
            with torch.no_grad(), self._policy.unsharded(), self._policy.forward_context():
                yield
        finally:
            config._attn_implementation = before
            for module in training:
                module.training = True
            # Inside somebody's autocast the casts made here, without a graph, would be reused by the next forward with gradients.
            torch.clear_autocast_cache()

    def step(self) -> AbstractContextManager[int]:
        """Return the version; nobody trains meanwhile."""
        return nullcontext(self.version)
