"""Reward functions, what they are made of, and the rubric that combines them."""

from lit_rlvr.rewards.answer import Answer, extract_answer, gold_after_marker
from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.rewards.format import ThinkFormat, ThinkGate
from lit_rlvr.rewards.length import OverlongPenalty
from lit_rlvr.rewards.math import ExactAnswer, MathReward
from lit_rlvr.rewards.rubric import Rubric

__all__ = [
    "Answer",
    "ExactAnswer",
    "MathReward",
    "OverlongPenalty",
    "RewardFunction",
    "Rubric",
    "ThinkFormat",
    "ThinkGate",
    "extract_answer",
    "gold_after_marker",
]
