"""Engines that sample with vLLM. Importing them does not import vLLM; constructing them does not start it."""

from lit_rlvr.rollout.vllm.engine import VLLMEngine

__all__ = ["VLLMEngine"]
