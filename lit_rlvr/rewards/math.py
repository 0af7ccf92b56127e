r"""The reward for mathematical answers."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from lit_rlvr.rewards.answer import clean
from lit_rlvr.rewards.answer_reward import AnswerReward
from lit_rlvr.rewards.choice import choice_of
from lit_rlvr.rewards.equality import normalized, numbers_agree, plain_number, why_not_an_answer, without_name
from lit_rlvr.rewards.self_test import SelfTest
from lit_rlvr.rewards.units import split_percent, split_unit
from lit_rlvr.rewards.verifier import MathVerifier
from lit_rlvr.rewards.verifier_worker import GRACE, GaveUpError, VerifierError
from lit_rlvr.types import Prompt

TOWER = "7^{7^{7^{7}}}"
"""A number that does not fit the machine: the verifier must give up on it."""
START_S = 60.0
"""Seconds that a verifier's process may take to start on a busy machine."""


@dataclass(eq=False)
class MathReward(AnswerReward):
    r"""Pays for a final answer that is mathematically equal to `prompt.answer`.

    Decided by the first step that can: equal spelling, equal letters of multiple choice, units that contradict each other, equal
    plain numbers, the rejection of answers that only echo the question or assert something false (`\sum_{i=1}^{100} i`,
    `6 = 5`), and math-verify in a process that the kernel ends at its limits.

    An answer that is too much for the verifier (CPU time, memory, a broken parser) is wrong, and its detail says `gave up`: a
    policy can neither be paid for such an answer nor leave the gradient by writing one. An error (`Verdict(None, reason)`) is
    what no answer can cause: no verifier process, a killed one, a machine that gives it no time.
    """

    percent_matters: bool = False
    """`5%` is 0.05 and never 5. By default a percent sign may be left out or added."""
    units_matter: bool = False
    """The answer must carry the unit of the gold answer (of those that are known: metric and US lengths, weights, volumes, times,
    money, degrees). By default it may be left out or added. Units that differ are wrong either way; none is converted."""
    cpu_s: float = 2.0
    """Seconds of CPU time the verifier may take for one answer; an answer that takes more is wrong."""
    wall_s: float = 10.0
    """Seconds of wall-clock time it may take, should the machine be too busy to give it its CPU time."""
    num_workers: int = 2
    """Verifier processes at most. None is started before the first answer needs one."""

    def __post_init__(self) -> None:
        """Set the verifier up; it starts its processes when it is first asked."""
        super().__post_init__()
        self._verifier = MathVerifier(self.cpu_s, self.wall_s, self.num_workers)

    def compare(self, gold: str, answer: str) -> tuple[bool | None, str]:
        """Return whether the two mean the same, and what decided it."""
        if normalized(gold) == normalized(answer):
            return True, "same spelling"
        if (choice := choice_of(gold)) and (chosen := choice_of(answer)):
            return choice == chosen, "same choice" if choice == chosen else "another choice"
        (gold_value, gold_unit), (value, unit) = split_unit(gold), split_unit(answer)
        if gold_unit != unit and ((gold_unit and unit) or (gold_unit and self.units_matter)):
            return False, f"{f'the unit {unit}' if unit else 'no unit'} instead of {gold_unit}"
        return self._compare_values(gold, answer, normalized(gold_value), normalized(value))

    def gold_problems(self, golds: Collection[str]) -> dict[str, str]:
        """Return what is wrong with each gold answer that math-verify cannot read, to its end, as equal to itself.

        Raises:
            VerifierError: the verifier's processes do not work.
        """
        problems = super().gold_problems(golds)
        symbolic = [gold for gold in golds if gold not in problems and not _is_decided_without_verifier(clean(gold))]
        with ThreadPoolExecutor(self.num_workers) as threads:
            found = threads.map(self._verifier.gold_problem, map(clean, symbolic))
            return problems | {gold: problem for gold, problem in zip(symbolic, found, strict=True) if problem}

    def self_test(self, prompt: Prompt) -> SelfTest:
        """Return the gold answer, another one, and a tower of powers."""
        limit_s = START_S + 2 * (self.wall_s + GRACE)
        return replace(super().self_test(prompt), hanging=self.statement_of(TOWER), limit_s=limit_s)

    def close(self) -> None:
        """Stop the verifier's processes."""
        self._verifier.close()

    def _compare_values(self, gold: str, answer: str, short_gold: str, short_answer: str) -> tuple[bool | None, str]:
        """Compare the answers; the short ones are normalized and without units."""
        (gold_part, gold_percent), (part, percent) = split_percent(short_gold), split_percent(short_answer)
        if self.percent_matters and gold_percent != percent:
            gold = short_gold = _hundredths(gold_part) if gold_percent else short_gold
            answer = short_answer = _hundredths(part) if percent else short_answer
        elif gold_percent or percent:
            short_gold, short_answer = gold_part, part
        value = without_name(short_gold, short_answer), without_name(short_answer, short_gold)
        agree = numbers_agree(*value)
        # without its sign a percentage may still agree with a fraction of one, which the verifier knows
        if agree is not None and (agree or gold_percent == percent):
            return agree, "same number" if agree else "another number"
        if reason := why_not_an_answer(gold, answer):
            return False, reason
        return self._verify(gold if value[0] == short_gold else value[0], answer)

    def _verify(self, gold: str, answer: str) -> tuple[bool | None, str]:
        try:
            equivalent = self._verifier.equivalent(gold, answer)
        except GaveUpError as error:
            return False, f"gave up: {error}"
        except VerifierError as error:
            return None, str(error)
        return equivalent, "equivalent" if equivalent else "not equivalent"


def _is_decided_without_verifier(gold: str) -> bool:
    return plain_number(normalized(gold)) is not None or bool(choice_of(gold))


def _hundredths(value: str) -> str:
    number = plain_number(value)
    return rf"\frac{{{value}}}{{100}}" if number is None else f"{number.numerator}/{number.denominator * 100}"
