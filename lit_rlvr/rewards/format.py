"""Rewards and gates for the form of a completion: thinking between `<think>` and `</think>`, an answer in a box."""

from abc import abstractmethod
from collections.abc import Sequence

from lit_rlvr.rewards.answer import after_thinking, last_boxed
from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.rewards.self_test import SelfTest
from lit_rlvr.types import Completion, Prompt, Verdict

OPEN = "<think>"
CLOSE = "</think>"
MANY = 3000
"""Marks in a text that must be looked through in linear time."""


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

    def self_test(self, prompt: Prompt) -> SelfTest:
        """Return a thought with an answer, one without, and many thoughts."""
        thought = "1" + CLOSE if self.prompt_opens_think else OPEN + "1" + CLOSE
        return SelfTest(f"{thought}2", thought, thought * MANY)

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


class Gate(RewardFunction):
    """Gives a fixed score to completions of a wrong form; the others are judged by the wrapped reward.

    Args:
        reward: judges the completions that pass.
    """

    def __init__(self, reward: RewardFunction) -> None:
        self.reward = reward

    @abstractmethod
    def refusal(self, completion: Completion) -> Verdict | None:
        """Return the fixed score of a completion that does not pass, None for one that does."""

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict | float:
        """Return the fixed score of a wrong form, otherwise the wrapped reward's verdict."""
        refusal = self.refusal(completion)
        return self.reward(prompt, completion) if refusal is None else refusal

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Let the wrapped reward look at the prompts."""
        self.reward.check(prompts)

    def self_test(self, prompt: Prompt) -> SelfTest:
        """Return the texts of the wrapped reward in a form that passes, as far as there is one."""
        inner = self.reward.self_test(prompt)
        dressed = self._dressed(inner.right), self._dressed(inner.wrong), self._dressed(inner.hanging)
        return SelfTest(*dressed, inner.limit_s, inner.has_answer)

    def in_form(self, text: str) -> str:
        """Return the text with what the gate looks for; a gate that can tell what that is overrides this."""
        return text

    def _dressed(self, text: str | None) -> str | None:
        """Return the text in a form that passes; None where there is none."""
        forms = [] if text is None else [text, self.in_form(text)]
        return next((form for form in forms if self.refusal(_completion(form)) is None), None)

    def close(self) -> None:
        """Release what the wrapped reward holds."""
        self.reward.close()


class ThinkGate(Gate):
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
        super().__init__(reward)
        self.missing_close = missing_close
        self.missing_open = missing_open
        self.prompt_opens_think = prompt_opens_think

    def in_form(self, text: str) -> str:
        """Return the text after a thought."""
        return ("1" if self.prompt_opens_think else OPEN + "1") + CLOSE + text

    def refusal(self, completion: Completion) -> Verdict | None:
        """Return the score of a missing marker."""
        if CLOSE not in completion.text:
            return Verdict(self.missing_close, f"no {CLOSE}")
        if not self.prompt_opens_think and OPEN not in completion.text:
            return Verdict(self.missing_open, f"no {OPEN}")
        return None


class BoxedGate(Gate):
    r"""Gives a fixed score to completions without a `\boxed{...}` answer; the others are judged by the wrapped reward.

    For rewards that look at the whole text, and to pay less for no answer than for a wrong one. open-r1's mathematics reward, too,
    takes nothing but a boxed answer.

    Args:
        reward: judges the completions that pass.
        missing_box: the score without a balanced, non-empty box.
        think_end: only text after the last occurrence of this marker counts; all text when it is absent or this is empty.
    """

    def __init__(self, reward: RewardFunction, missing_box: float = 0.0, think_end: str = CLOSE) -> None:
        super().__init__(reward)
        self.missing_box = missing_box
        self.think_end = think_end

    def in_form(self, text: str) -> str:
        """Return the text after a box that is not empty."""
        return r"\boxed{1} " + text

    def refusal(self, completion: Completion) -> Verdict | None:
        """Return the score of a missing box."""
        box = last_boxed(after_thinking(completion.text, self.think_end))
        return None if box else Verdict(self.missing_box, "no boxed answer" if box is None else "the box is empty")


def _completion(text: str) -> Completion:
    return Completion((), (), "stop", text=text)
