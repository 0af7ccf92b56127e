"""Reinforcement learning with verifiable rewards for language models, native to PyTorch Lightning."""

from importlib.metadata import version

__version__ = version("lit_rlvr")
