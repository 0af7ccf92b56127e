"""Reward functions that the configurations of the tests name: one that pays a random model, and some that misbehave."""

from lit_rlvr.rewards import RewardFunction
from lit_rlvr.types import Completion, Prompt, Verdict


class EnoughDigits(RewardFunction):
    """1 when at least `share` of the characters are digits, otherwise that share's part of 1."""

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        found = sum(c.isdigit() for c in completion.text) / max(len(completion.text), 1)
        return min(1.0, found / self.share)


class Unjudged(RewardFunction):
    """Cannot judge the completions of additions whose first number ends in one of these digits, once `after` were judged."""

    def __init__(self, digits: str = "0123456789", after: int = 0) -> None:
        self.digits = digits
        self.after = after
        self.calls = 0

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict | float:
        self.calls += 1
        if self.calls > self.after and prompt.id.split("+")[0][-1] in self.digits:
            return Verdict(None, "the verifier is out of order")
        return float(len(completion.token_ids) % 2)


class Broken(RewardFunction):
    """Has a bug."""

    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        return {"known": 1.0}[completion.text]
