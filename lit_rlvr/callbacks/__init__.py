"""Callbacks of a run: weights to the engine, progress, rollouts and results to disk."""

from lit_rlvr.callbacks.hf_export import HFExport
from lit_rlvr.callbacks.ledger_log import LedgerLog
from lit_rlvr.callbacks.phase_timer import PhaseTimer
from lit_rlvr.callbacks.progress import RolloutProgressBar
from lit_rlvr.callbacks.replay_log import ReplayLog
from lit_rlvr.callbacks.rollout_log import RolloutLog
from lit_rlvr.callbacks.run_record import RunRecord
from lit_rlvr.callbacks.token_log import TokenLog
from lit_rlvr.callbacks.weight_sync import WeightSync

__all__ = [
    "HFExport",
    "LedgerLog",
    "PhaseTimer",
    "ReplayLog",
    "RolloutLog",
    "RolloutProgressBar",
    "RunRecord",
    "TokenLog",
    "WeightSync",
]
