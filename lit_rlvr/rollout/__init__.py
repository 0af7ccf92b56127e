"""Engines that sample completions from the policy's weights."""

from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams

__all__ = ["EmbeddedEngine", "RolloutEngine", "SamplingParams"]
