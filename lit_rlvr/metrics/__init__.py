"""What is measured: accuracies with intervals, token statistics, repetition."""

from lit_rlvr.metrics.accuracy import GroupAccuracy, pass_at_k
from lit_rlvr.metrics.intervals import Estimate, bootstrap_interval, wilson_interval
from lit_rlvr.metrics.repetition import repetition_rate, text_repetition_rate
from lit_rlvr.metrics.token_statistics import TokenStatistics

__all__ = [
    "Estimate",
    "GroupAccuracy",
    "TokenStatistics",
    "bootstrap_interval",
    "pass_at_k",
    "repetition_rate",
    "text_repetition_rate",
    "wilson_interval",
]
