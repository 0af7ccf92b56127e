"""The words everybody shares: prompts, completions, groups, the batches a module trains on, and the policy as engines see it.

Dimensions: `B` completions, `T` tokens, `P` prompts, `G` group size, `V` vocabulary. How the tensors of a batch are aligned is said
in `lit_rlvr.types.batches`.
"""

from lit_rlvr.types.batches import EvalBatch, RolloutBatch, SFTBatch, StepTotals
from lit_rlvr.types.policy import RolloutPolicy
from lit_rlvr.types.rollouts import (
    Completion,
    Conversation,
    FinishReason,
    LogprobSemantics,
    Prompt,
    Rollout,
    RolloutGroup,
    Verdict,
)

__all__ = [
    "Completion",
    "Conversation",
    "EvalBatch",
    "FinishReason",
    "LogprobSemantics",
    "Prompt",
    "Rollout",
    "RolloutBatch",
    "RolloutGroup",
    "RolloutPolicy",
    "SFTBatch",
    "StepTotals",
    "Verdict",
]
