"""The side of gradients: the policy, its loss terms, and the LightningModules that train it."""

from lit_rlvr.modules.base import PolicyModule
from lit_rlvr.modules.loading import LoRAConfig, PolicyConfig
from lit_rlvr.modules.policy import Policy, PolicyScores
from lit_rlvr.modules.rl import RLModule
from lit_rlvr.modules.schedules import ConstantWithWarmup, CosineToMinimum, LinearToMinimum
from lit_rlvr.modules.sft import SFTModule
from lit_rlvr.modules.terms import EntropyBonus, KLPenalty, LossTerm, PositiveNLL

__all__ = [
    "ConstantWithWarmup",
    "CosineToMinimum",
    "EntropyBonus",
    "KLPenalty",
    "LinearToMinimum",
    "LoRAConfig",
    "LossTerm",
    "Policy",
    "PolicyConfig",
    "PolicyModule",
    "PolicyScores",
    "PositiveNLL",
    "RLModule",
    "SFTModule",
]
