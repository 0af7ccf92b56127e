"""What is measured: accuracies with intervals, what optimizer steps and rollouts look like."""

from lit_rlvr.metrics.accuracy import GroupAccuracy, pass_at_k
from lit_rlvr.metrics.intervals import Estimate, bootstrap_interval, wilson_interval
from lit_rlvr.metrics.named_means import NamedMeans
from lit_rlvr.metrics.rollout_dynamics import RolloutDynamics
from lit_rlvr.metrics.token_statistics import TokenStatistics
from lit_rlvr.metrics.training_dynamics import TrainingDynamics
from lit_rlvr.rewards.repetition import repetition_rate, text_repetition_rate

__all__ = [
    "Estimate",
    "GroupAccuracy",
    "NamedMeans",
    "RolloutDynamics",
    "TokenStatistics",
    "TrainingDynamics",
    "bootstrap_interval",
    "pass_at_k",
    "repetition_rate",
    "text_repetition_rate",
    "wilson_interval",
]
