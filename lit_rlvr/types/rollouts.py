"""What is asked, generated and judged: prompts, completions, verdicts, rollouts and groups of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
