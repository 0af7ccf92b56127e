r"""Rewards for answers that can be checked: mathematical equivalence, and plain equality for problems with one spelling."""

import re

from lit_rlvr.rewards.answer import clean, extract_answer, limit_problem
from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.rewards.equality import normalized, numbers_agree, why_not_an_answer, without_name
from lit_rlvr.rewards.verifier import MathVerifier, VerifierError
from lit_rlvr.types import Completion, Prompt, Verdict


class MathReward(RewardFunction):
    r"""Pays for a final answer that is mathematically equal to `prompt.answer`.

    Decided by the first step that can: equal spelling, equal plain numbers, the rejection of answers that only echo the
    question or assert something false (`\sum_{i=1}^{100} i`, `6 = 5`), and math-verify in a worker process with a real
    time-out. A time-out or a worker that died twice is an error (`Verdict(None, reason)`), everything else is right or wrong.
    Percent signs and units are read as math-verify reads them: they may be left out.

    Args:
        correct_score: paid for a right answer. ASPO: 1, Klear: 1.
        incorrect_score: paid for a wrong answer, a missing one, or one over the limits of size. ASPO: 0, Klear: -1.
        pattern: regular expression; the answer is group 1 of its last match (all of it without a group). null takes the last
            balanced `\boxed{...}`.
        think_end: only text after the last occurrence of this marker counts; all text when it is absent or this is empty.
        require_stop: a completion that was cut at the length limit is wrong, whatever it says.
        timeout_s: seconds of wall-clock time the verifier may take for one answer before it is killed.
        num_workers: verifier processes at most. None is started before the first answer needs one.
    """

    def __init__(
        self,
        correct_score: float = 1.0,
        incorrect_score: float = 0.0,
        pattern: str | None = None,
        think_end: str = "</think>",
        require_stop: bool = True,
        timeout_s: float = 10.0,
        num_workers: int = 2,
    ) -> None:
        self.correct_score = correct_score
        self.incorrect_score = incorrect_score
        self.pattern = _compiled(pattern)
        self.think_end = think_end
        self.require_stop = require_stop
        self._verifier = MathVerifier(timeout_s, num_workers)

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge the completion; see the class for what is right, wrong and an error."""
        if self.require_stop and completion.is_truncated:
            return Verdict(self.incorrect_score, "the completion was cut")
        answer = extract_answer(completion.text, self.pattern, self.think_end)
        if answer.problem:
            return Verdict(self.incorrect_score, answer.problem)
        try:
            is_right, why = self._judge(clean(prompt.answer), answer.text)
        except VerifierError as error:
            return Verdict(None, str(error))
        return Verdict(self.correct_score if is_right else self.incorrect_score, f"{answer.text!r}: {why}")

    def check_gold(self, prompt: Prompt) -> None:
        """Refuse a prompt whose answer could never be matched; for data sets, when they are loaded.

        Raises:
            ValueError: the answer is empty, over the limits of size, or not readable as mathematics.
        """
        gold = clean(prompt.answer)
        place = f"the answer {prompt.answer[:80]!r} of prompt {prompt.id!r}"
        if problem := "it is empty" if not gold else limit_problem(gold):
            raise ValueError(f"{place} cannot be verified ({problem}); correct it or leave the prompt out")
        if numbers_agree(normalized(gold), normalized(gold)):
            return
        try:
            readable = self._verifier.parses(gold) and self._verifier.equivalent(gold, gold)
        except VerifierError as error:
            raise ValueError(f"{place} cannot be verified ({error}); correct it or leave the prompt out") from error
        if not readable:
            raise ValueError(f"{place} does not parse as mathematics; correct it or leave the prompt out")

    def close(self) -> None:
        """Stop the verifier's processes."""
        self._verifier.close()

    def _judge(self, gold: str, answer: str) -> tuple[bool, str]:
        short_gold, short_answer = normalized(gold), normalized(answer)
        if short_gold == short_answer:
            return True, "same spelling"
        value = without_name(short_gold, short_answer), without_name(short_answer, short_gold)
        agree = numbers_agree(*value)
        if agree is not None:
            return agree, "same number" if agree else "another number"
        if reason := why_not_an_answer(gold, answer):
            return False, reason
        equivalent = self._verifier.equivalent(gold if value[0] == short_gold else value[0], answer)
        return equivalent, "equivalent" if equivalent else "not equivalent"


class ExactAnswer(RewardFunction):
    r"""Pays for a final answer spelled like `prompt.answer`, up to white space and case. Cheap: no process, no mathematics.

    Args:
        correct_score: paid for a right answer.
        incorrect_score: paid for a wrong or missing one.
        pattern: regular expression; the answer is group 1 of its last match (all of it without a group). null takes the last
            balanced `\boxed{...}`.
        think_end: only text after the last occurrence of this marker counts; all text when it is absent or this is empty.
        require_stop: a completion that was cut at the length limit is wrong, whatever it says.
    """

    def __init__(
        self,
        correct_score: float = 1.0,
        incorrect_score: float = 0.0,
        pattern: str | None = None,
        think_end: str = "</think>",
        require_stop: bool = True,
    ) -> None:
        self.correct_score = correct_score
        self.incorrect_score = incorrect_score
        self.pattern = _compiled(pattern)
        self.think_end = think_end
        self.require_stop = require_stop

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge the completion: right or wrong, never an error."""
        if self.require_stop and completion.is_truncated:
            return Verdict(self.incorrect_score, "the completion was cut")
        answer = extract_answer(completion.text, self.pattern, self.think_end)
        if answer.problem:
            return Verdict(self.incorrect_score, answer.problem)
        is_right = _folded(answer.text) == _folded(clean(prompt.answer))
        return Verdict(self.correct_score if is_right else self.incorrect_score, repr(answer.text))


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from error


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
