"""Rewards and gates for completions that think between `<think>` and `</think>` before they answer."""

from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.types import Completion, Prompt, Verdict

OPEN = "<think>"
CLOSE = "</think>"


class ThinkFormat(RewardFunction):
    """Pays for exactly one `<think>...</think>` at the start of the completion, with an answer after it.

    Args:
        correct_score: paid for the right form.
        incorrect_score: paid for any other.
        prompt_opens_think: the chat template ends the prompt with `<think>`, so that the completion must not repeat it.
    """

    def __init__(self, correct_score: float = 1.0, incorrect_score: float = 0.0, prompt_opens_think: bool = False) -> None:
        self.correct_score = correct_score
        self.incorrect_score = incorrect_score
        self.prompt_opens_think = prompt_opens_think

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge the form only, never the answer."""
        problem = self._problem(completion.text)
        return Verdict(self.incorrect_score if problem else self.correct_score, problem)

    def _problem(self, text: str) -> str:
        opened = OPEN + text if self.prompt_opens_think else text
        if opened.count(OPEN) != 1 or opened.count(CLOSE) != 1:
            return f"{opened.count(OPEN)} {OPEN} and {opened.count(CLOSE)} {CLOSE}, one of each expected"
        before, _, rest = opened.partition(OPEN)
        if before.strip():
            return f"text before {OPEN}"
        _, closed, answer = rest.partition(CLOSE)
        if not closed:
            return f"{CLOSE} before {OPEN}"
        return "" if answer.strip() else f"no answer after {CLOSE}"


class ThinkGate(RewardFunction):
    """Gives a fixed score to completions without think markers; the others are judged by the wrapped reward.

    Klear's mathematics reward is `ThinkGate(MathReward(correct_score=1, incorrect_score=-1))`. The closing marker is looked for
    first: a completion that was cut while thinking gets `missing_close`, which Klear sets *above* the score of a wrong answer.

    Args:
        reward: judges the completions that pass.
        missing_close: the score without `</think>`. Klear: -0.5.
        missing_open: the score with `</think>` but without `<think>`. Klear: -2.
        prompt_opens_think: the chat template ends the prompt with `<think>`: the completion only has to close it.
    """

    def __init__(
        self,
        reward: RewardFunction,
        missing_close: float = -0.5,
        missing_open: float = -2.0,
        prompt_opens_think: bool = False,
    ) -> None:
        self.reward = reward
        self.missing_close = missing_close
        self.missing_open = missing_open
        self.prompt_opens_think = prompt_opens_think

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict | float:
        """Return the fixed score of a missing marker, otherwise the wrapped reward's verdict."""
        if CLOSE not in completion.text:
            return Verdict(self.missing_close, f"no {CLOSE}")
        if not self.prompt_opens_think and OPEN not in completion.text:
            return Verdict(self.missing_open, f"no {OPEN}")
        return self.reward(prompt, completion)

    def close(self) -> None:
        """Release what the wrapped reward holds."""
        self.reward.close()
