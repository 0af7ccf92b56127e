"""The settings of the DataModules that are plain values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lit_rlvr.ops import Reduction
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout_correction import TruncatedImportanceSampling


@dataclass(frozen=True)
class ChatFormat:
    """How messages become tokens."""

    tokenizer: str
    """Hugging Face name or folder of a tokenizer with a chat template."""
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments for the chat template, such as `enable_thinking`."""


@dataclass(frozen=True)
class PromptFormat(ChatFormat):
    """How messages become tokens, and how many tokens they may become."""

    max_prompt_tokens: int = 1024
    """Longest prompt."""
    drop_long_prompts: bool = False
    """Leave longer prompts out, with a warning that counts them, instead of stopping."""


@dataclass(frozen=True)
class IterationConfig:
    """What one RL iteration (one Lightning epoch) consists of."""

    num_prompts: int = 32
    """Groups trained on per iteration."""
    group_size: int = 8
    """Completions per prompt."""
    num_mini_batches: int = 1
    """Optimizer steps per pass over the rollouts."""
    ppo_epochs: int = 1
    """Passes over the rollouts of an iteration."""
    max_rounds: int = 1
    """Generation rounds: while filters leave fewer than `num_prompts` groups, fresh prompts are drawn (dynamic sampling)."""
    prompts_per_round: int | None = None
    """Prompts generated in a round; by default as many as are still missing. Groups beyond `num_prompts` are dropped."""
    drop_truncated: bool = False
    """Leave completions that hit the length limit out of advantages and loss (the overlong filter)."""
    reduction: Reduction = "token-mean"
    """How the token losses of an optimizer step, over all ranks and micro-batches, become one number."""
    divisor: float | None = None
    """The constant of the reduction `constant`: completions per optimizer step times tokens per completion."""

    def __post_init__(self) -> None:
        """Reject sizes that leave nothing to train on, and a divisor that is not used or not positive."""
        for name in ("num_prompts", "group_size", "num_mini_batches", "ppo_epochs", "max_rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.iteration.{name} must be at least 1, got {getattr(self, name)}")
        if self.num_mini_batches > self.num_prompts:
            raise ValueError(
                f"data.iteration.num_mini_batches={self.num_mini_batches} is more than num_prompts={self.num_prompts}: "
                "some optimizer steps would have no group"
            )
        if self.prompts_per_round is not None and self.prompts_per_round < 1:
            raise ValueError(f"data.iteration.prompts_per_round must be at least 1, got {self.prompts_per_round}")
        if self.divisor is not None and self.reduction != "constant":
            raise ValueError(
                f"data.iteration.divisor={self.divisor} would do nothing with data.iteration.reduction={self.reduction}: "
                "only 'constant' has a divisor"
            )
        if self.divisor is not None and not (self.divisor > 0 and math.isfinite(self.divisor)):
            raise ValueError(f"data.iteration.divisor must be positive, got {self.divisor}")

    def require_divisor(self, max_tokens: int) -> None:
        """Raise ValueError, with a divisor to set, if the reduction is `constant` and none is given.

        `max_tokens`: most tokens of one completion.
        """
        if self.reduction == "constant" and self.divisor is None:
            completions = self.num_prompts * self.group_size / self.num_mini_batches
            raise ValueError(
                "data.iteration.reduction=constant needs data.iteration.divisor, the constant that token losses are divided by. "
                f"For completions per optimizer step ({completions:.10g}) times most tokens per completion ({max_tokens}), as in "
                f"Dr. GRPO, set data.iteration.divisor={completions * max_tokens:.10g}"
            )


@dataclass(frozen=True)
class EvaluationConfig:
    """How held-out problems are evaluated."""

    group_size: int = 8
    """Sampled completions per problem: the k of avg@k and pass@k."""
    sampling: SamplingParams | None = None
    """How they are sampled; by default like the training completions."""
    greedy: bool = True
    """Decode each problem greedily, too."""
    batch_prompts: int = 64
    """Problems generated at once, per rank."""


def check_training_rollouts(
    sampling: SamplingParams, iteration: IterationConfig, correction: TruncatedImportanceSampling | None
) -> None:
    """Refuse rollouts that nothing could be learned from, or that could not be weighed.

    Raises:
        ValueError: greedy sampling, the reduction `constant` without a divisor, or a correction of truncated sampling.
    """
    if sampling.temperature == 0:
        raise ValueError("data.sampling.temperature is 0: greedy completions of a group would all be the same")
    if correction is not None and sampling.semantics.is_truncated:
        raise ValueError(
            f"data.rollout_correction cannot be used with data.sampling.top_p={sampling.top_p} and top_k={sampling.top_k}: the engine's "
            "log-probs are then those of the tokens that were kept, the policy's those of all, and every weight would hold the "
            "mass that was left out; train on top_p=1 and top_k=0, or without a correction"
        )
    iteration.require_divisor(sampling.max_tokens)
