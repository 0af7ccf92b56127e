"""Reinforcement learning with verifiable rewards: the policy objective meets the rollouts."""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from lightning.pytorch import Callback
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import AdamW

from lit_rlvr.callbacks.weight_sync import WeightSync
from lit_rlvr.metrics.training_dynamics import TrainingDynamics
from lit_rlvr.modules.base import PolicyModule
from lit_rlvr.modules.evaluation import EvaluationMetrics
from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.modules.policy import PolicyScores
from lit_rlvr.modules.terms import LossTerm
from lit_rlvr.objectives import GRPO, ObjectiveInputs, PolicyObjective
from lit_rlvr.types import EvalBatch, RolloutBatch

SILENT_ITERATIONS = 10
"""A loss term that is exactly 0 for so many iterations in a row is reported."""


class RLModule(PolicyModule):
    """Trains a policy with a policy objective on rollouts. One Lightning epoch is one RL iteration: `max_epochs` counts them.

    Args:
        policy: which model is trained.
        objective: the loss of each token; GRPO by default.
        terms: additions to the objective: KL penalty, entropy bonus, loss on positives.
        optimizer: makes the optimizer from the trainable parameters.
        lr_scheduler: makes the learning-rate schedule from the optimizer; constant by default.
        lr_scheduler_interval: whether the schedule advances per optimizer step or per iteration.
        max_skipped_steps: optimizer steps with a non-finite gradient that are skipped in a row before the run stops.
    """

    def __init__(
        self,
        policy: PolicyConfig,
        objective: PolicyObjective = GRPO(),  # noqa: B008 - frozen
        terms: list[LossTerm] | None = None,
        optimizer: OptimizerCallable = AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Literal["step", "epoch"] = "step",
        max_skipped_steps: int = 10,
    ) -> None:
        term_names = tuple(term.name for term in terms or [])
        super().__init__(policy, optimizer, lr_scheduler, lr_scheduler_interval, max_skipped_steps, term_names)
        self.objective = objective
        self.terms = terms or []
        self.dynamics = TrainingDynamics(_statistics_of(objective))
        self.dynamics.persistent(False)
        self.evaluation = EvaluationMetrics()
        self._rollout_stats: Mapping[str, float] = {}
        self._silent_iterations = dict.fromkeys(term_names, 0)

    @property
    def needs_reference(self) -> bool:
        """True when a term reads the reference policy."""
        return any(term.needs_reference for term in self.terms)

    def configure_callbacks(self) -> list[Callback]:
        """Keep the engine's weights current; give an objective that is a callback (a schedule, say) its hooks."""
        wanted = [WeightSync(), *([self.objective] if isinstance(self.objective, Callback) else [])]
        present = {type(callback) for callback in self.trainer.callbacks}  # type: ignore[attr-defined]
        return [callback for callback in wanted if type(callback) not in present]

    def training_step(self, batch: RolloutBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return this micro-batch's share of the loss of the optimizer step, and `logprobs` and `entropy` `[B, T]` for callbacks."""
        self._step_is_empty = batch.totals.tokens == 0
        scores = self.policy(
            batch.input_ids,
            batch.attention_mask,
            batch.loss_mask,
            batch.temperature,
            with_entropy_gradient=any(term.needs_entropy_gradient for term in self.terms),
        )
        inputs = objective_inputs(scores, batch)
        token_loss, statistics = self.objective(inputs)
        weights = batch.loss_weights if batch.rollout_weights is None else batch.loss_weights * batch.rollout_weights
        loss = weighted_sum(token_loss, weights)
        self.ledger.add(batch, loss)
        for term in self.terms:
            value = weighted_sum(*term(scores, batch))
            self.record(**{term.name: value.detach() * self.loss_scale})
            loss = loss + term.coefficient * value
        self.record(loss=loss.detach() * self.loss_scale)
        self._count(inputs, scores, statistics, batch)
        self._rollout_stats = batch.stats
        return {"loss": loss * self.loss_scale, "logprobs": scores.logprobs.detach(), "entropy": scores.entropy.detach()}

    def _count(
        self, inputs: ObjectiveInputs, scores: PolicyScores, statistics: Mapping[str, Tensor], batch: RolloutBatch
    ) -> None:
        """Count the tokens now, and in the backward pass what gradient the objective gives them."""
        self.dynamics.update_batch(batch, scores.logprobs.detach(), scores.entropy.detach(), statistics)
        if inputs.logprobs.requires_grad:
            has_weight = batch.loss_weights != 0
            inputs.logprobs.register_hook(lambda gradient: self.dynamics.update_gradient(gradient, has_weight))

    def on_train_epoch_end(self) -> None:
        """Log the statistics of the iteration: its rollouts, its tokens, its optimizer steps."""
        self.log_everywhere(self._rollout_stats)
        self.log_statistics(self.dynamics, "train")
        self._report_silent_terms()
        super().on_train_epoch_end()

    def _report_silent_terms(self) -> None:
        """Warn of a term that has contributed exactly nothing for many iterations: a setting should not do nothing."""
        recorded = self.step_statistics.compute()
        for term in self.terms:
            is_silent = term.coefficient != 0 and recorded.get(term.name) == 0.0
            self._silent_iterations[term.name] = self._silent_iterations[term.name] + 1 if is_silent else 0
            if self._silent_iterations[term.name] == SILENT_ITERATIONS:
                rank_zero_warn(
                    f"{type(term).__name__} has coefficient {term.coefficient} but contributed exactly 0 in the last "
                    f"{SILENT_ITERATIONS} iterations: remove it, or find out why"
                )

    def validation_step(self, batch: EvalBatch, batch_idx: int) -> None:
        """Count the judged completions of held-out problems."""
        self.evaluation.update(batch)

    def on_validation_epoch_end(self) -> None:
        """Log avg@k, pass@k and greedy accuracy with their intervals."""
        self.log_everywhere(self.evaluation.compute_and_reset("val"))

    def test_step(self, batch: EvalBatch, batch_idx: int) -> None:
        """Count the judged completions of the test problems."""
        self.evaluation.update(batch)

    def on_test_epoch_end(self) -> None:
        """Log avg@k, pass@k and greedy accuracy with their intervals."""
        self.log_everywhere(self.evaluation.compute_and_reset("test"))


def objective_inputs(scores: PolicyScores, batch: RolloutBatch) -> ObjectiveInputs:
    """Return what the objective sees of a micro-batch."""
    if batch.old_logprobs is None:
        raise ValueError("the batch has no old_logprobs: it was not scored by the policy before the first update")
    # A view of its own, so that the gradient which arrives here is the objective's, without that of the terms.
    logprobs = scores.logprobs.view_as(scores.logprobs)
    return ObjectiveInputs(logprobs, batch.old_logprobs, batch.advantages, batch.loss_mask, scores.entropy.detach())


def weighted_sum(token_loss: Float[Tensor, "B T"], weights: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Return `(token_loss * weights).sum()`; a token without weight cannot contribute, not even a NaN."""
    return torch.where(weights != 0, token_loss * weights, 0.0).sum()


def _statistics_of(objective: PolicyObjective) -> list[str]:
    """Return the names of the statistics an objective reports, found by calling it once.

    Raises:
        TypeError: the objective does not return a loss per token and a dictionary of statistics.
    """
    token = torch.zeros(1, 1)
    inputs = ObjectiveInputs(token, token, token, torch.ones(1, 1, dtype=torch.bool), token)
    result = objective(inputs)
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
        raise TypeError(f"{type(objective).__name__} must return (token_loss, statistics), got {type(result).__name__}")
    if result[0].shape != token.shape:
        raise TypeError(
            f"{type(objective).__name__} must return one loss per token, [B, T] = {list(token.shape)}, got "
            f"{list(result[0].shape)}: it must not reduce"
        )
    return list(result[1])
