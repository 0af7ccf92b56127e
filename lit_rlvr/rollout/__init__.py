"""Engines that sample completions from the policy's weights."""

from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.rollout.replay import ReplayEngine
from lit_rlvr.rollout.vllm import VLLMEngine, VLLMServerEngine

__all__ = ["EmbeddedEngine", "ReplayEngine", "RolloutEngine", "SamplingParams", "VLLMEngine", "VLLMServerEngine"]
