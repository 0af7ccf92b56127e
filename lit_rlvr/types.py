"""The words everybody shares: prompts, completions, groups, and the batches a module trains on.

One alignment rule holds for every tensor of a batch: **column `t` of every field describes the token
`input_ids[:, t]`**. `logprobs[:, t]` is the log-probability *of* token `t` given the tokens before it, so column 0
never carries a loss. Dimensions: `B` completions, `T` tokens, `P` prompts, `G` group size, `V` vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Batch = TypeVar("Batch", bound="_TensorBatch")
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Prompt:
    """One problem, as the policy sees it and as a reward function checks it."""

    id: str
    """Unique within its source; names the problem in logs and seeds its sampling."""
    messages: tuple[Mapping[str, str], ...]
    """Chat messages (`role`, `content`), the last one from the user."""
    answer: str = ""
    """The verifiable reference answer."""
    source: str = ""
    """The data set it comes from, for metrics by source."""
    token_ids: tuple[int, ...] = ()
    """The rendered chat template, ending with the generation prompt. Empty until the DataModule has tokenized it."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else a reward function needs (test cases, units, ...)."""


@dataclass(frozen=True)
class Conversation:
    """One supervised example: the messages of a prompt and the response to imitate."""

    id: str
    messages: tuple[Mapping[str, str], ...]
    response: str
    source: str = ""


@dataclass(frozen=True)
class LogprobSemantics:
    """Which distribution an engine's log-probs are those of."""

    temperature: float = 1.0
    """What the logits were divided by; 0 for greedy decoding."""
    top_p: float = 1.0
    """Share of probability that nucleus sampling kept."""
    top_k: int = 0
    """Number of tokens that were kept; 0 for all."""
    is_processed: bool = True
    """True for log-probs of the distribution that was sampled from; False for those of `softmax(logits)`, whatever was sampled."""

    @property
    def is_truncated(self) -> bool:
        """True when some tokens could not be sampled, and those that could be have log-probs that sum to 1 among themselves."""
        return self.is_processed and (self.top_p < 1 or self.top_k > 0)


@dataclass(frozen=True)
class Completion:
    """What an engine generated for one member of a group."""

    token_ids: tuple[int, ...]
    """Generated tokens, the stop token included when there is one."""
    logprobs: tuple[float, ...]
    """Log-probability of each token under the distribution it was sampled from (temperature, top-p, top-k applied)."""
    finish_reason: FinishReason
    """`stop` when a stop token ended it, `length` when it was cut."""
    weight_version: int = -1
    """The version of the policy's weights that generated it; the oldest one, where the weights changed while it was generated."""
    text: str = ""
    """Decoded tokens without special tokens. Filled in by the collector."""
    semantics: LogprobSemantics = LogprobSemantics()
    """Which distribution `logprobs` are those of."""
    token_versions: tuple[int, ...] = ()
    """The version that generated each token; empty when all are of `weight_version`."""
    seed: int = -1
    """The seed that it was sampled with; -1 before the collector has filled it in."""

    @property
    def is_truncated(self) -> bool:
        """True when the length limit, not the policy, ended it."""
        return self.finish_reason == "length"


@dataclass(frozen=True)
class Verdict:
    """The outcome of one reward function: a score, or an error that is *not* a score."""

    score: float | None
    """None when the verifier failed (crash, time-out, infrastructure); such a completion is left out of the gradient."""
    detail: str = ""
    """Why, for the rollout log: the extracted answer, the error message, ..."""

    @property
    def is_error(self) -> bool:
        """True when the verifier failed to judge."""
        return self.score is None


@dataclass(frozen=True)
class Rollout:
    """A completion with its rewards and, once its group is known, its advantage."""

    prompt: Prompt
    completion: Completion
    reward: float | None
    """Weighted sum of the verdicts; None when any verdict that counts is an error."""
    is_correct: bool
    """True when the rubric's accuracy function gave its full score: the `c` of pass@k, and Klear's positives."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    advantage: float = 0.0


@dataclass(frozen=True)
class RolloutGroup:
    """All scored completions of one prompt."""

    prompt: Prompt
    rollouts: tuple[Rollout, ...]

    @property
    def rewards(self) -> list[float]:
        """Rewards of the completions that could be judged."""
        return [r.reward for r in self.rollouts if r.reward is not None]


@dataclass(frozen=True)
class _TensorBatch:
    """Shared behaviour of the batches: moving between devices and selecting rows."""

    def to(self: Batch, device: torch.device | str, **kwargs: Any) -> Batch:
        """Return the batch with every tensor on `device`."""
        return self._map(lambda x: x.to(device, **kwargs))

    def _map(self: Batch, function: Callable[[Tensor], Tensor]) -> Batch:
        changed = {f.name: function(v) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        return replace(self, **changed)

    def rows(self: Batch, index: Int[Tensor, " N"]) -> Batch:
        """Return the rows in `index`, trimmed to the longest of them."""
        chosen = self._map(lambda x: x[index])
        length = int(chosen.attention_mask.sum(dim=1).max())  # type: ignore[attr-defined]
        return chosen._map(lambda x: x[:, :length] if x.dim() == 2 else x)


@dataclass(frozen=True)
class StepTotals:
    """What an optimizer step holds over all ranks and micro-batches: the books that the training side is checked against."""

    tokens: int = 0
    """Tokens in the loss."""
    sequences: int = 0
    """Rows with any such token."""
    denominator: float = 0.0
    """What the reduction divides by: tokens, sequences, or the stated constant."""
    weight: float = 0.0
    """Sum of all loss weights."""


@dataclass(frozen=True)
class SFTBatch(_TensorBatch):
    """Right-padded supervised sequences."""

    input_ids: Int[Tensor, "B T"]
    attention_mask: Bool[Tensor, "B T"]
    loss_mask: Bool[Tensor, "B T"]
    """True on the response tokens, the end-of-sequence token included."""
    loss_weights: Float[Tensor, "B T"]
    """The reduction as a tensor: summed over all ranks and micro-batches of one optimizer step it is 1."""
    totals: StepTotals = StepTotals()
    """What the whole optimizer step adds up to."""


@dataclass(frozen=True)
class RolloutBatch(_TensorBatch):
    """Right-padded rollouts: prompt, completion, padding."""

    input_ids: Int[Tensor, "B T"]
    attention_mask: Bool[Tensor, "B T"]
    loss_mask: Bool[Tensor, "B T"]
    """True on the completion tokens that take part in the loss."""
    advantages: Float[Tensor, "B T"]
    """Advantage of each token; 0 where `loss_mask` is False."""
    rewards: Float[Tensor, " B"]
    is_correct: Bool[Tensor, " B"]
    rollout_logprobs: Float[Tensor, "B T"]
    """The engine's log-probs of the distribution that was sampled from; 0 where `loss_mask` is False."""
    loss_weights: Float[Tensor, "B T"]
    """The reduction as a tensor, stamped once per optimizer step over all ranks and micro-batches."""
    positive_weights: Float[Tensor, "B T"]
    """Token-mean weights over the correct completions of the optimizer step (Klear's loss on positives)."""
    totals: StepTotals = StepTotals()
    """What the whole optimizer step adds up to; without tokens when its share of the iteration is empty."""
    temperature: float = 1.0
    """Sampling temperature: log-probs are those of `logits / temperature`, in the engine and in the policy."""
    is_gap_defined: bool = True
    """False where sampling was truncated (top-p, top-k): the engine's log-probs are then those of the tokens that were kept, the policy's
    those of all, and their difference is the mass that was left out, not a gap."""
    old_logprobs: Float[Tensor, "B T"] | None = None
    """The policy's own log-probs before this iteration's first update."""
    ref_logprobs: Float[Tensor, "B T"] | None = None
    """The reference policy's log-probs, when a KL term needs them."""
    rollout_weights: Float[Tensor, "B T"] | None = None
    """Importance weights without gradient that correct for the gap between engine and policy; None: no correction."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """Statistics of the whole iteration (reward, accuracy, lengths, filters), equal on every rank and micro-batch."""


@dataclass(frozen=True)
class EvalBatch(_TensorBatch):
    """Judged completions of held-out problems: `P` problems, `K` samples each."""

    correct: Bool[Tensor, "P K"]
    judged: Bool[Tensor, "P K"]
    """False where the verifier failed; such a sample counts neither as right nor as wrong."""
    truncated: Bool[Tensor, "P K"]
    lengths: Int[Tensor, "P K"]
    """Completion lengths in tokens."""
    greedy_correct: Bool[Tensor, " P"] | None
    """Whether the greedy completion is right; None when greedy decoding was not asked for."""
    is_real: Bool[Tensor, " P"]
    """False for rows that only even out the ranks."""


@runtime_checkable
class RolloutPolicy(Protocol):
    """What the side of experience may ask of the policy that is being trained."""

    model: nn.Module
    """The Hugging Face causal LM, for engines that generate in the trainer's process."""

    def forward_context(self) -> AbstractContextManager[Any]:
        """Return the trainer's precision (autocast), for forwards outside `training_step`."""
        ...

    def unsharded(self) -> AbstractContextManager[None]:
        """Return a context in which every rank holds all weights. Entering it is collective."""
        ...

    @property
    def compute_dtype(self) -> torch.dtype:
        """The type that its matrix products are computed in: that of the trainer's autocast, or of the weights."""
        ...

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each weight under its name in a Hugging Face checkpoint, whole and one at a time: sharded weights are gathered (every
        rank must iterate to the end), adapters are merged, tied weights come once.
        """
        ...

    def token_logprobs(
        self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], temperature: float
    ) -> list[list[float]]:
        """Return the log-prob of each token of each completion after its prompt, under `softmax(logits / temperature)`."""
        ...

    def score(self, batch: RolloutBatch) -> RolloutBatch:
        """Return the batch with `old_logprobs` (and `ref_logprobs`, where a term needs them) filled in."""
        ...
