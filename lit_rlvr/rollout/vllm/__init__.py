"""Engines that sample with vLLM. Importing them does not import vLLM; constructing them does not start it."""

from lit_rlvr.rollout.vllm.engine import VLLMEngine
from lit_rlvr.rollout.vllm.server.engine import VLLMServerEngine

__all__ = ["VLLMEngine", "VLLMServerEngine"]
