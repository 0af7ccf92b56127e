"""What every rollout engine must do: hold known weights, and sample completions whose log-probs mean what they say."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lit_rlvr.types import Completion, LogprobSemantics, Prompt, RolloutPolicy


@dataclass(frozen=True)
class SamplingParams:
    """How completions are sampled. `temperature=0` is greedy."""

    max_tokens: int = 1024
    """Most tokens of one completion, the stop token included."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token."""
    top_p: float = 1.0
    """Keep the smallest set of tokens whose probability reaches this share (nucleus sampling)."""
    top_k: int = 0
    """Keep this many most likely tokens; 0 keeps all."""

    def __post_init__(self) -> None:
        """Reject values no sampler can follow."""
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 (greedy) or positive, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (keep all) or positive, got {self.top_k}")

    @property
    def semantics(self) -> LogprobSemantics:
        """What log-probs of the distribution that is sampled from are those of."""
        return LogprobSemantics(self.temperature, self.top_p, self.top_k)


class RolloutEngine(ABC):
    """Samples completions from the weights it was last given."""

    weight_version: int = -1
    """Version of the weights the engine holds; -1 before the first update."""
    can_overlap: bool = False
    """True when `generate` may run in another thread while the policy is trained: the engine holds weights of its own."""
    can_update_midway: bool = False
    """True when `update_weights` may be called while `generate` runs in another thread: the completions in progress go on with the
    new weights, and their `token_versions` tell which token came from which."""
    on_progress: Callable[[int, int], None] | None = None
    """Called now and then while generating, with the completions finished and asked for. A progress bar sets it."""

    on_completion: Callable[[int, int, Completion], None] | None = None
    """Called with the prompt's place in the call, the member and the completion once that is finished, by engines that can tell
    before the others are. The collector sets it, to judge while the rest is generated."""

    @abstractmethod
    def update_weights(self, policy: RolloutPolicy, version: int) -> None:
        """Take over the policy's weights (drop every cache that depends on the old ones) and remember their version."""

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        seeds: Sequence[Sequence[int]],
        stop_token_ids: Sequence[int],
    ) -> list[list[Completion]]:
        """Sample `len(seeds[p])` completions for each prompt `p`.

        A completion depends on the weights, its prompt and its own seed only, not on what else is in the call.

        Args:
            prompts: tokenized prompts, `P` of them.
            params: how to sample.
            seeds: `[P][G]`, one non-negative 63-bit seed per completion.
            stop_token_ids: tokens that end a completion (kept in its `token_ids`).

        Returns:
            `[P][G]` completions, without `text`.
        """

    def release_memory(self) -> None:
        """Make room for training: rollouts are complete, and nothing is generated before the weights are updated again.

        Called by the DataModule at the end of an iteration's rollouts and after an evaluation. An engine that has set its weights
        aside says so with `weight_version = -1`: it has to be updated before it generates, even if the policy has not changed.
        """
        return None

    def close(self) -> None:
        """Release what the engine holds (processes, memory)."""
        return None
