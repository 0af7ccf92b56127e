import copy
import pickle
from collections.abc import Iterator

import pytest

from lit_rlvr.rewards import AnswerReward, ExactAnswer, MathReward
from lit_rlvr.types import Completion, Prompt, Verdict

EQUAL = [
    ("72", "72"),
    ("72", "72.00"),
    ("1000", r"1{,}000"),
    ("1234567", r"1\,234\,567"),
    ("18", r"\$18"),
    ("18", r"18 \text{ dollars}"),
    ("0.5", r"\frac{1}{2}"),
    (r"\frac{2}{3}", r"\tfrac{4}{6}"),
    (r"\frac{1}{3}", "0.3333333"),
    (r"3\frac{1}{2}", r"\frac{7}{2}"),
    (r"25\%", "25%"),
    (r"90^\circ", "90"),
    (r"\sqrt{8}", r"2\sqrt{2}"),
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
    ("2^{10}", "1024"),
    (r"1.5 \times 10^3", "1500"),
    (r"\pi", r"\frac{2\pi}{2}"),
    ("x^2 + 2x + 1", "(x+1)^2"),
    (r"\tan^2 y + 1", r"\sec^2 y"),
    ("x = 5", "5"),
    ("5", "x = 5"),
    (r"\{1, 2, 3\}", r"\{3, 1, 2\}"),
    (r"2, 3", r"3 \text{ and } 2"),
    (r"1 \pm \sqrt{2}", r"1+\sqrt{2}, 1-\sqrt{2}"),
    ("(1, 2)", r"\left( 1,\; \frac{4}{2} \right)"),
    ("[0, 1)", r"\left[0, 1\right)"),
    (r"(-\infty, 2) \cup (3, \infty)", r"(3, \infty) \cup (-\infty, 2)"),
    ("x > 3", "3 < x"),
    (r"[1, 4]", r"1 \le x \le 4"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & \frac{8}{2} \end{bmatrix}"),
    (r"2x + 4y = 6", "x + 2y = 3"),
    (r"\text{Tuesday}", "Tuesday"),
    ("3 + 4i", "4i + 3"),
    ("5", "５"),
]
DIFFERENT = [
    ("72", "-72"),
    ("72", "7.2"),
    (r"\frac{2}{3}", r"\frac{3}{2}"),
    ("32", "3²"),
    ("11/2", "1 1/2"),
    (r"\sqrt{2}", "1.414"),
    ("10^{-8}", "0"),
    (r"\frac{1}{2^{40}}", r"\frac{1}{2^{41}}"),
    ("x + 1", "x - 1"),
    ("x", "y"),
    ("(1, 2)", "(2, 1)"),
    ("[0, 1)", "[0, 1]"),
    (r"\{1, 2\}", r"\{1, 2, 3\}"),
    ("2021", r"\pm 2021"),
    ("5", "5, 6"),
    ("x > 3", "x < 3"),
    (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    (r"\text{Tuesday}", r"\text{Monday}"),
    (r"1 - \frac{1}{\mathrm{e}}", r"1 + \frac{1}{\mathrm{e}}"),
    ("5050", r"\sum_{i=1}^{100} i"),
    ("5", "6 = 5"),
    ("101_2", "101"),
]


def prompt(answer: str) -> Prompt:
    return Prompt("p1", (), answer=answer)


def completion(text: str, finish_reason: str = "stop") -> Completion:
    return Completion((1, 2), (0.0, 0.0), finish_reason, text=text)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    function = MathReward()
    yield function
    function.close()


@pytest.mark.parametrize(("gold", "answer", "equal"), [(*p, True) for p in EQUAL] + [(*p, False) for p in DIFFERENT])
def test_answers_are_compared_by_their_mathematics(reward: MathReward, gold: str, answer: str, equal: bool) -> None:
    verdict = reward(prompt(gold), completion(rf"So $\boxed{{{answer}}}$."))
    assert verdict.score == (1.0 if equal else 0.0), verdict.detail


def test_scores_are_settings() -> None:
    klear = MathReward(correct_score=1.0, incorrect_score=-1.0)
    assert [klear(prompt("5"), completion(rf"\boxed{{{answer}}}")).score for answer in ("5", "6")] == [1.0, -1.0]


def test_a_cut_completion_is_wrong_unless_allowed() -> None:
    assert MathReward()(prompt("5"), completion(r"\boxed{5}", "length")) == Verdict(0.0, "the completion was cut")
    assert MathReward(require_stop=False)(prompt("5"), completion(r"\boxed{5}", "length")).score == 1.0


def test_no_answer_and_a_monstrous_one_are_wrong_with_the_reason() -> None:
    assert MathReward()(prompt("5"), completion("five")) == Verdict(0.0, "no boxed answer in the completion")
    assert "at most 512" in MathReward()(prompt("5"), completion(rf"\boxed{{{'5+' * 400}5}}")).detail


def test_a_pattern_instead_of_a_box() -> None:
    function = MathReward(pattern=r"####\s*(.+)")
    assert function(prompt("72"), completion("48+24\n#### 72")).score == 1.0
    assert function(prompt("72"), completion(r"\boxed{72}")).score == 0.0
    with pytest.raises(ValueError, match=r"pattern '\(' is not a regular expression"):
        MathReward(pattern="(")


def test_a_reward_can_be_copied_and_pickled() -> None:
    function = MathReward(cpu_s=3.0, wall_s=30.0, num_workers=1, pattern="(.+)")
    for twin in (copy.deepcopy(function), pickle.loads(pickle.dumps(function))):
        assert twin(prompt("5"), completion("5")).score == 1.0
        assert twin._verifier is not function._verifier
        assert (twin._verifier.cpu_s, twin._verifier.wall_s, twin._verifier.num_workers) == (3.0, 30.0, 1)


def test_exact_answers_ignore_white_space_and_case_only() -> None:
    function = ExactAnswer()
    right, wrong = (r"\boxed{ Next   TUESDAY }", r"\boxed{next\ttuesday}"), (r"\boxed{Tuesday}", "next Tuesday", r"\boxed{}")
    assert [function(prompt("next Tuesday"), completion(text)).score for text in right] == [1.0, 0.0]
    assert [function(prompt("next Tuesday"), completion(text)).score for text in wrong] == [0.0, 0.0, 0.0]
    assert function(prompt("1/2"), completion(r"\boxed{0.5}")).score == 0.0
    assert function(prompt("5"), completion(r"\boxed{5}", "length")).score == 0.0


class Longest(AnswerReward):
    def compare(self, gold: str, answer: str) -> tuple[bool | None, str]:
        return (None, "no gold") if not gold else (len(answer) >= len(gold), f"{len(answer)} characters")


def test_an_answer_reward_of_ones_own_says_only_when_an_answer_is_right() -> None:
    function = Longest(correct_score=2.0, incorrect_score=-2.0)
    assert function(prompt("abc"), completion(r"\boxed{abcd}")) == Verdict(2.0, "'abcd': 4 characters")
    assert function(prompt("abc"), completion(r"\boxed{ab}")) == Verdict(-2.0, "'ab': 2 characters")
    assert function(prompt(""), completion(r"\boxed{ab}")) == Verdict(None, "'ab': no gold")
    assert function(prompt("abc"), completion("ab")) == Verdict(-2.0, "no boxed answer in the completion")
