"""Supervised fine-tuning on responses."""

from typing import Literal

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim import AdamW

from lit_rlvr.modules.base import PolicyModule
from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.types import SFTBatch


class SFTModule(PolicyModule):
    """Minimizes the negative log-likelihood of response tokens, a token mean over each optimizer step (Klear-Reasoner, Eq. 8).

    Args:
        policy: which model is trained.
        optimizer: makes the optimizer from the trainable parameters.
        lr_scheduler: makes the learning-rate schedule from the optimizer; constant by default.
        lr_scheduler_interval: whether the schedule advances per optimizer step or per epoch.
        max_skipped_steps: optimizer steps with a non-finite gradient that are skipped in a row before the run stops.
    """

    def __init__(
        self,
        policy: PolicyConfig,
        optimizer: OptimizerCallable = AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Literal["step", "epoch"] = "step",
        max_skipped_steps: int = 10,
    ) -> None:
        super().__init__(policy, optimizer, lr_scheduler, lr_scheduler_interval, max_skipped_steps)
        self.validation_statistics = self.new_statistics("loss")

    def training_step(self, batch: SFTBatch, batch_idx: int) -> Tensor:
        """Return this micro-batch's share of the mean negative log-likelihood."""
        scores = self.policy(batch.input_ids, batch.attention_mask, batch.loss_mask)
        loss = -(scores.logprobs * batch.loss_weights).sum()
        self.ledger.add(batch, loss)
        loss = loss * self.loss_scale
        self.record(loss=loss.detach())
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=1)
        return loss

    def validation_step(self, batch: SFTBatch, batch_idx: int) -> None:
        """Count the negative log-likelihood of the held-out tokens."""
        scores = self.policy(batch.input_ids, batch.attention_mask, batch.loss_mask)
        counted = batch.loss_mask & (batch.loss_weights > 0)
        self.validation_statistics.update({"loss": -scores.logprobs}, counted)

    def on_validation_epoch_end(self) -> None:
        """Log the token mean over the held-out set."""
        self.log_statistics(self.validation_statistics, "val")

    def test_step(self, batch: SFTBatch, batch_idx: int) -> None:
        """Count like `validation_step`."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the token mean over the test set."""
        self.log_statistics(self.validation_statistics, "test")
