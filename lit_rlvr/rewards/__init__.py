"""Reward functions, what they are made of, and the rubric that combines them."""

from lit_rlvr.rewards.answer import Answer, extract_answer, gold_after_marker
from lit_rlvr.rewards.answer_reward import AnswerReward
from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.rewards.code import CodeReward
from lit_rlvr.rewards.exact import ExactAnswer
from lit_rlvr.rewards.format import BoxedGate, Gate, ThinkFormat, ThinkGate
from lit_rlvr.rewards.language import LanguageConsistency
from lit_rlvr.rewards.length import OverlongPenalty
from lit_rlvr.rewards.math import MathReward
from lit_rlvr.rewards.repetition import RepetitionPenalty
from lit_rlvr.rewards.rubric import Rubric
from lit_rlvr.rewards.self_test import SelfTest

__all__ = [
    "Answer",
    "AnswerReward",
    "BoxedGate",
    "CodeReward",
    "ExactAnswer",
    "Gate",
    "LanguageConsistency",
    "MathReward",
    "OverlongPenalty",
    "RepetitionPenalty",
    "RewardFunction",
    "Rubric",
    "SelfTest",
    "ThinkFormat",
    "ThinkGate",
    "extract_answer",
    "gold_after_marker",
]
