"""What SFT and RL share: building the policy, its optimizer, and refusing steps that would damage it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from lit_rlvr.metrics.token_statistics import TokenStatistics
from lit_rlvr.modules.ledger import NormalizationLedger
from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.modules.policy import Policy
from lit_rlvr.sharding import shard

OF_EVERY_STEP = ("learning_rate", "grad_norm", "skipped_steps", "step_tokens", "step_sequences")
"""What is recorded once per optimizer step."""


class PolicyModule(LightningModule):
    """Base of SFTModule and RLModule: a policy, its optimizer and its schedule.

    Args:
        policy: which model is trained.
        optimizer: makes the optimizer from the trainable parameters.
        lr_scheduler: makes the learning-rate schedule from the optimizer; constant by default.
        lr_scheduler_interval: whether the schedule advances per optimizer step or per epoch (an RL iteration).
        max_skipped_steps: optimizer steps with a non-finite gradient that are skipped in a row before the run stops.
        step_statistics: names of the values that subclasses record once per micro-batch or step.
    """

    policy: Policy

    def __init__(
        self,
        policy: PolicyConfig,
        optimizer: OptimizerCallable = AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Literal["step", "epoch"] = "step",
        max_skipped_steps: int = 10,
        step_statistics: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.policy_config = policy
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.lr_scheduler_interval = lr_scheduler_interval
        self.max_skipped_steps = max_skipped_steps
        self.step_statistics = self.new_statistics("loss", *OF_EVERY_STEP, *step_statistics)
        self.ledger = NormalizationLedger()
        self._skipped_in_a_row = 0
        self._step_is_empty = False

    @staticmethod
    def new_statistics(*names: str, maxima: tuple[str, ...] = ()) -> TokenStatistics:
        """Return an empty metric. Checkpoints hold its state over all ranks (`on_save_checkpoint`), not that of one of them."""
        statistics = TokenStatistics(names, maxima)
        statistics.persistent(False)
        return statistics

    @property
    def needs_reference(self) -> bool:
        """True when the initial policy must be kept."""
        return False

    def setup(self, stage: str) -> None:
        """Refuse precisions that would round advantages and loss weights along with the model.

        Raises:
            ValueError: `trainer.precision` is `bf16-true`, `16-true` or `64-true`.
        """
        if self.trainer.precision in ("bf16-true", "16-true", "64-true"):
            raise ValueError(
                f"trainer.precision={self.trainer.precision} converts the batches too, loss weights included: set it to bf16-mixed, "
                "or leave it out and set model.policy.dtype: bfloat16 to keep the weights in that type"
            )

    def configure_model(self) -> None:
        """Build the policy, once, and shard it where the strategy is `ModelParallelStrategy` (FSDP2).

        Raises:
            ValueError: the strategy asks for tensor parallelism.
        """
        if hasattr(self, "policy"):
            return
        self.policy = Policy(self.policy_config, with_reference=self.needs_reference)
        if self.device_mesh is None:
            return
        if self.device_mesh["tensor_parallel"].size() > 1:
            raise ValueError(
                f"trainer.strategy asks for tensor_parallel_size={self.device_mesh['tensor_parallel'].size()}, which the policy "
                "does not support: set it to 1 and data_parallel_size to the number of devices (FSDP2)"
            )
        shard(self.policy, self.policy.causal_lm.get_decoder().layers, self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> Any:
        """Return the optimizer over the trainable parameters, and its schedule."""
        optimizer = self.optimizer([p for p in self.policy.parameters() if p.requires_grad])
        if self.lr_scheduler is None:
            return optimizer
        schedule = {"scheduler": self.lr_scheduler(optimizer), "interval": self.lr_scheduler_interval}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_fit_start(self) -> None:
        """Use the trainer's precision outside `training_step` too, and check the log-probs once."""
        self._enter_precision()

    def on_validation_start(self) -> None:
        """Use the trainer's precision for rollouts."""
        self._enter_precision()

    def on_test_start(self) -> None:
        """Use the trainer's precision for rollouts."""
        self._enter_precision()

    def _enter_precision(self) -> None:
        first = self.policy.forward_context is not self.trainer.precision_plugin.forward_context
        self.policy.forward_context = self.trainer.precision_plugin.forward_context
        if first:
            self.policy.check_against_full_logits()

    @property
    def loss_scale(self) -> int:
        """Undoes the means that Lightning takes over micro-batches and data parallelism over ranks.

        The loss weights of an optimizer step already sum to 1 over all of them.
        """
        return self.trainer.world_size * self.trainer.accumulate_grad_batches

    def record(self, **values: Tensor | float) -> None:
        """Count values once, for the mean over the epoch that is logged at its end."""
        tensors = {name: torch.as_tensor(value, device=self.device).float().reshape(1, 1) for name, value in values.items()}
        self.step_statistics.update(tensors, torch.ones(1, 1, dtype=torch.bool, device=self.device))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Close the books of the step; drop the gradient when it is not finite, or when the step had no tokens.

        Without a gradient the optimizer leaves a parameter and its moments exactly as they are.

        Raises:
            NormalizationError: the loss weights of the step do not add up over all ranks and micro-batches.
        """
        entry = self.ledger.close(self.trainer.global_step, self._sum_over_ranks)
        self.record(learning_rate=optimizer.param_groups[0]["lr"], step_tokens=entry.tokens, step_sequences=entry.sequences)
        gradients = [p.grad for p in self.policy.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        is_finite = bool(torch.isfinite(norm))
        if is_finite and not self._step_is_empty:
            self._skipped_in_a_row = 0
            self.record(grad_norm=norm, skipped_steps=0.0)
            return
        optimizer.zero_grad(set_to_none=True)
        self.record(skipped_steps=1.0)
        if not is_finite:
            self._refuse_gradient(float(norm))

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        return cast(Tensor, self.trainer.strategy.reduce(values, reduce_op="sum"))

    def _refuse_gradient(self, norm: float) -> None:
        self._skipped_in_a_row += 1
        message = f"optimizer step {self.trainer.global_step}: gradient norm is {norm}; the step is skipped"
        if self._skipped_in_a_row > self.max_skipped_steps:
            raise FloatingPointError(f"{message}, as were the {self.max_skipped_steps} before it: stopping")
        rank_zero_warn(message)

    def log_statistics(self, statistics: TokenStatistics, prefix: str) -> None:
        """Log and reset what was counted since the last call, over all ranks."""
        self.log_everywhere({f"{prefix}/{name}": value for name, value in statistics.compute().items()})
        statistics.reset()

    def log_everywhere(self, values: Mapping[str, float]) -> None:
        """Log values that are the same on every rank."""
        self.log_dict(dict(values), sync_dist=self.trainer.world_size > 1)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Start an epoch with empty statistics, also after a resume from its predecessor's last step, which ends no epoch."""
        if batch_idx == 0:
            for statistics in self._statistics.values():
                statistics.reset()

    def on_train_epoch_end(self) -> None:
        """Log the statistics of the epoch."""
        self.log_statistics(self.step_statistics, "train")

    @property
    def _statistics(self) -> dict[str, TokenStatistics]:
        return {name: metric for name, metric in self.named_children() if isinstance(metric, TokenStatistics)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what `lit-rlvr export` needs to rebuild the model, and what all ranks have counted of the unfinished epoch."""
        checkpoint["policy"] = asdict(self.policy_config)
        checkpoint["statistics"] = {name: statistics.global_state() for name, statistics in self._statistics.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        for name, statistics in self._statistics.items():
            statistics.load_global_state(checkpoint["statistics"][name])
