"""A penalty for completions that come close to the length limit."""

from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.rewards.self_test import SelfTest
from lit_rlvr.types import Completion, Prompt, Verdict


class OverlongPenalty(RewardFunction):
    """DAPO's soft punishment of long completions (arXiv:2503.14476, Eq. 13).

    0 up to `max_tokens - buffer` tokens, then falling linearly to `-factor` at `max_tokens`, and `-factor` beyond. Add it to a
    rubric next to the reward it softens.

    Args:
        max_tokens: length limit of a completion in tokens, the stop token included; the sampling's `max_tokens`.
        buffer: tokens before the limit over which the penalty grows. ASPO: 16, DAPO: 4096.
        factor: the penalty at the limit.

    Raises:
        ValueError: `buffer` is not in 1..`max_tokens`, or `factor` is not positive.
    """

    def __init__(self, max_tokens: int, buffer: int, factor: float = 1.0) -> None:
        if not 1 <= buffer <= max_tokens:
            raise ValueError(f"buffer must be between 1 and max_tokens ({max_tokens}), got {buffer}")
        if not factor > 0:
            raise ValueError(f"factor must be positive, got {factor}; leave the penalty out to switch it off")
        self.max_tokens = max_tokens
        self.buffer = buffer
        self.factor = factor

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Return the penalty, between `-factor` and 0."""
        length = len(completion.token_ids)
        excess = length - (self.max_tokens - self.buffer)
        score = -self.factor * min(max(excess / self.buffer, 0.0), 1.0)
        return Verdict(score, f"{length} of {self.max_tokens} tokens")

    def self_test(self, prompt: Prompt) -> SelfTest:
        """Return a short text and, with a token to each digit and blank, one of twice the limit."""
        return SelfTest("1", "1 " * self.max_tokens)
