"""What is examined: model, data and engine, set up as for training."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import Trainer
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from lit_rlvr.data import RolloutDataModule
from lit_rlvr.data.collate import collate_rollouts
from lit_rlvr.data.prompt_stream import ShuffledStream
from lit_rlvr.modules import RLModule
from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.types import Completion, Prompt, RolloutBatch, RolloutGroup

PROMPTS_PER_RANK = 4
GROUP_SIZE = 8
MAX_TOKENS = 256
"""What is sampled to look at: a few groups of the configured size, up to these bounds."""


class Patient:
    """A run that has been set up and has not begun.

    Args:
        trainer: in its `fit`, with strategy, precision and device in place.
        module: with its policy.
        data: with its training prompts.
        config: the resolved configuration of the verb.
        args: the command line it came from, which tells where each setting stands.
    """

    def __init__(self, trainer: Trainer, module: RLModule, data: RolloutDataModule, config: Any, args: Sequence[str]) -> None:
        self.trainer = trainer
        self.module = module
        self.data = data
        self.config = config
        self.args = args
        self.perturbation: tuple[float, float] | None = None
        """Size of a change of the weights that shows, and how far it moves the log-probs, once that has been found out."""
        self._version = 0
        data.connect(module.policy, lambda: self._version)

    @property
    def policy(self) -> Policy:
        """The policy that is trained."""
        return self.module.policy

    @property
    def model_config(self) -> PretrainedConfig:
        """What transformers knows of the model's text part."""
        return self.policy.causal_lm.config.get_text_config(decoder=True)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of data and verifiers."""
        return self.data.tokenizer

    @property
    def engine(self) -> RolloutEngine:
        """What generates."""
        return self.data.engine

    @property
    def prompts(self) -> list[Prompt]:
        """All training prompts."""
        return self.data.prompts["train"]

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest training prompt."""
        return max(len(prompt.token_ids) for prompt in self.prompts)

    @property
    def max_positions(self) -> int | None:
        """Longest sequence that both the model and the engine can take; None when neither has a limit."""
        limits = [getattr(self.model_config, "max_position_embeddings", None), getattr(self.engine, "max_model_len", None)]
        return min((limit for limit in limits if limit is not None), default=None)

    def first_prompts(self, count: int) -> list[Prompt]:
        """Return the prompts that training begins with, or all there are."""
        return ShuffledStream(self.prompts, self.data.seed).draw(min(count, len(self.prompts)))

    def change_weights(self) -> None:
        """Count a change of the policy's weights, so that they are a version that the engine does not hold."""
        self._version += 1

    def sync(self) -> None:
        """Hand the policy's weights to the engine as new ones. A collective."""
        self.change_weights()
        self.engine.update_weights(self.policy, self._version)

    def generate(
        self, prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """Generate with the weights that the engine holds; nothing ends a completion but its length."""
        return self.engine.generate(prompts, params, seeds, stop_token_ids=())

    @property
    def sampling(self) -> SamplingParams:
        """The configured sampling, no longer than needed here."""
        room = MAX_TOKENS if self.max_positions is None else max(self.max_positions - self.longest_prompt, 1)
        return replace(self.data.sampling, max_tokens=min(self.data.sampling.max_tokens, MAX_TOKENS, room))

    @cached_property
    def groups(self) -> list[RolloutGroup]:
        """A few groups, collected and judged as in training; all of them on every rank. A collective."""
        ranks = self.data.ranks
        prompts = self.first_prompts(PROMPTS_PER_RANK * ranks.world_size)
        size = min(self.data.iteration.group_size, GROUP_SIZE)
        return ranks.gather_from(lambda: self.data.collector.collect(ranks.share(prompts), size, self.sampling, "doctor", 0))

    @cached_property
    def batch(self) -> RolloutBatch:
        """The rows of these groups, with the policy's own log-probs. A collective."""
        rollouts = [rollout for group in self.groups for rollout in group.rollouts]
        return self.policy.score(collate_rollouts(rollouts, self.data.sampling.temperature))

    @property
    def weight_tensors(self) -> dict[str, torch.Tensor]:
        """The trainable weights, this rank's part of them where they are sharded."""
        return {name: local(parameter) for name, parameter in self.policy.named_parameters() if parameter.requires_grad}


def local(parameter: torch.Tensor) -> torch.Tensor:
    """Return what this rank holds of a parameter, sharing its memory."""
    detached = parameter.detach()
    return detached.to_local() if hasattr(detached, "to_local") else detached
