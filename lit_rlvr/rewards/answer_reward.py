"""What rewards for a final answer have in common: finding it, paying for it, and checking the gold answers."""

import re
from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lit_rlvr.rewards.answer import clean, extract_answer, has_balanced_braces, limit_problem
from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.rewards.gold import report_gold_problems
from lit_rlvr.rewards.self_test import SelfTest
from lit_rlvr.types import Completion, Prompt, Verdict

PHRASES = (r"\boxed{{{}}}", "#### {}", "The answer is {}", "The final answer is {}.", "Answer: {}", "{}")
"""Ways to state an answer, one of which a pattern of the configuration may find."""
NO_ANSWER = "-86753090"
"""Is wrong unless somebody asks for this very number."""
BUSY = "1" * 3000 + r" \boxed{" * 3000
"""Takes for ever where boxes are counted, or digits matched, in more than linear time."""


@dataclass(eq=False)
class AnswerReward(RewardFunction):
    """Pays for the final answer of a completion; a subclass says when it is right.

    Raises:
        ValueError: `pattern` is not a regular expression, or `max_bad_golds` is not a share.
    """

    correct_score: float = 1.0
    """Paid for a right answer. ASPO: 1, Klear: 1."""
    incorrect_score: float = 0.0
    """Paid for a wrong answer, a missing one, or one over the limits of size. ASPO: 0, Klear: -1."""
    pattern: str | None = None
    r"""Regular expression; the answer is group 1 of its last match (all of it without a group). null takes the last balanced
    `\boxed{...}`."""
    think_end: str = "</think>"
    """Only text after the last occurrence of this marker counts; all text when it is absent or this is empty."""
    require_stop: bool = True
    """A completion that was cut at the length limit is wrong, whatever it says."""
    max_bad_golds: float = 0.05
    """Share of the prompts whose gold answer may be unusable before the run is refused; up to it, they are warned of."""

    def __post_init__(self) -> None:
        """Compile the pattern."""
        if not 0 <= self.max_bad_golds <= 1:
            raise ValueError(f"max_bad_golds must be between 0 and 1, got {self.max_bad_golds}")
        try:
            self._pattern = None if self.pattern is None else re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is not a regular expression: {error}") from error

    @abstractmethod
    def compare(self, gold: str, answer: str) -> tuple[bool | None, str]:
        """Return whether a cleaned answer is right, and why; None when that could not be found out."""

    def gold_problems(self, golds: Collection[str]) -> dict[str, str]:
        """Return what is wrong with each of these gold answers that could never be matched."""
        cleaned = {gold: clean(gold) for gold in golds}
        problems = {gold: _form_problem(text) for gold, text in cleaned.items()}
        return {gold: problem for gold, problem in problems.items() if problem}

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge the completion; see the class for what is right, wrong and an error."""
        if self.require_stop and completion.is_truncated:
            return Verdict(self.incorrect_score, "the completion was cut")
        answer = extract_answer(completion.text, self._pattern, self.think_end)
        if answer.problem:
            return Verdict(self.incorrect_score, answer.problem)
        is_right, why = self.compare(clean(prompt.answer), answer.text)
        score = None if is_right is None else self.correct_score if is_right else self.incorrect_score
        return Verdict(score, f"{answer.text!r}: {why}")

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Warn of gold answers that could never be matched.

        Raises:
            ValueError: they are more than `max_bad_golds` of the prompts.
        """
        report_gold_problems(prompts, self.gold_problems({prompt.answer for prompt in prompts}), self.max_bad_golds)

    def self_test(self, prompt: Prompt) -> SelfTest:
        """Return the gold answer, another one, and one that is nothing but beginnings."""
        has_answer = not _form_problem(clean(prompt.answer))
        right = self.statement_of(prompt.answer) if has_answer else None
        return SelfTest(right, self.statement_of(NO_ANSWER), BUSY, has_answer=has_answer)

    def statement_of(self, answer: str) -> str | None:
        """Return a completion in which the answer is found, None when there is no telling what `pattern` looks for."""
        statements = (phrase.format(answer) for phrase in PHRASES)
        found = (text for text in statements if extract_answer(text, self._pattern, self.think_end).text == clean(answer))
        return next(found, None)


def _form_problem(gold: str) -> str:
    if not gold:
        return "is empty"
    return limit_problem(gold) if has_balanced_braces(gold) else "has unbalanced braces"
