"""Pairs of a gold answer and a final answer, by kind of answer, each with what it shows."""

from collections.abc import Iterator

import pytest

from lit_rlvr.rewards import MathReward
from lit_rlvr.types import Completion, Prompt, Verdict

PAIRS = {
    "numeric": [
        ("144", "144.0", True, "a decimal of the same value"),
        ("144", "12^2", True, "a power"),
        ("-7", "−7", True, "the typographic minus"),
        ("2500000", r"2.5 \times 10^{6}", True, "scientific notation"),
        ("2500000", "2.5e6", True, "scientific notation of programs"),
        ("0.0000025", "2.5e-6", True, "with a negative exponent, which is no subtraction from e"),
        (r"e - 6", "1e-6", False, "and e is no exponent"),
        (r"\frac{22}{7}", "22/7", True, "a fraction on one line"),
        (r"\frac{22}{7}", r"3 \frac{1}{7}", True, "a mixed number"),
        (r"\frac{22}{7}", "3.142857142857", True, "a fraction to twelve digits"),
        (r"\frac{22}{7}", "3.14", False, "a fraction to three digits"),
        ("0.125", "0,125", True, "a decimal comma"),
        ("3.5", "4.5", False, "another decimal"),
        ("12", "1 2", False, "two digits that are not one number"),
        ("1e-7", "2e-7", False, "small numbers that differ by a factor"),
        (r"\frac{1}{3^{50}}", r"\frac{1}{3^{51}}", False, "tiny ones"),
        (r"\frac{1}{300!}", r"\frac{1}{301!}", False, "tiny ones with a factorial"),
        ("0", "0.00000001", False, "almost nothing is not nothing"),
        (r"2 + 3i", "3i+2", True, "a complex number"),
        (r"2 + 3i", "2 - 3i", False, "and its conjugate"),
    ],
    "symbolic": [
        (r"(a+b)(a-b)", "a^2 - b^2", True, "expanded"),
        (r"\frac{n(n+1)}{2}", r"\binom{n+1}{2}", False, "an unevaluated binomial for a formula that has none"),
        (r"\binom{n+1}{2}", r"\binom{n+1}{2}", True, "which is fine where the gold answer has one"),
        (r"\ln 8", r"3 \ln 2", True, "rules of logarithms"),
        (r"\cos 2t", r"1 - 2\sin^2 t", True, "an identity of trigonometry"),
        (r"\cos 2t", r"1 + 2\sin^2 t", False, "with a wrong sign"),
        ("y = 3x - 2", "y = 3x - 2.0", True, "an equation"),
        ("y = 3x - 2", "3x - y = 2", True, "the same line"),
        ("y = 3x - 2", "y = 3x + 2", False, "a parallel one"),
        (r"f(t) = t^2", "t^2", True, "a named function"),
        ("p", "q", False, "another letter"),
        ("3t", "3", False, "a letter that could be a unit is none"),
        ("7ab", "7bc", False, "nor are two of them"),
        (r"\frac{dx}{dt} = 3x", r"3x = \frac{dx}{dt}", True, "a differential equation"),
        (r"\frac{dx}{dt} = 3x", r"\frac{dy}{dt} = 3x", False, "of another function"),
        (r"\frac{d\omega}{dt} = 3", r"\frac{d\theta}{dt} = 3", False, "or of another angle"),
    ],
    "set": [
        (r"\{2, 4, 8\}", r"\{8, 2, 4\}", True, "sets have no order"),
        (r"\{2, 4, 8\}", r"\{2, 4\}", False, "an element is missing"),
        (r"\{2, 4\}", r"\{2, 4, 8\}", False, "one too many"),
        ("2, 4", r"x = 2 \text{ or } x = 4", True, "solutions with their name"),
        (r"\pm 3", "3, -3", True, "plus or minus"),
        ("3", r"\pm 3", False, "a hedge"),
        (r"\emptyset", r"\{\}", True, "the empty set"),
    ],
    "interval": [
        ("[2, 5)", r"\left[ 2,\, 5 \right)", True, "sizes of brackets"),
        ("[2, 5)", r"[2, \frac{10}{2})", True, "a bound that is computed"),
        ("[2, 5)", "(2, 5]", False, "the wrong ends"),
        ("[2, 5)", r"2 \le t < 5", True, "as inequalities"),
        (r"(-\infty, 0) \cup [1, \infty)", r"[1, \infty) \cup (-\infty, 0)", True, "a union"),
        ("t > 4", "4 < t", True, "turned around"),
        ("t > 4", r"t \ge 4", False, "with the bound"),
    ],
    "tuple": [
        ("(3, -1)", r"\left(3,-1\right)", True, "a point"),
        ("(3, -1)", "(-1, 3)", False, "in another order"),
        ("(3, -1)", "3", False, "half of it"),
        ("(3, -1, 0)", r"(\sqrt{9}, -1, 1-1)", True, "with values to compute"),
    ],
    "matrix": [
        (r"\begin{pmatrix} 2 & 0 \\ 0 & 3 \end{pmatrix}", r"\begin{bmatrix} 2 & 0 \\ 0 & 6/2 \end{bmatrix}", True, "brackets"),
        (r"\begin{pmatrix} 2 & 0 \\ 0 & 3 \end{pmatrix}", r"\begin{pmatrix} 3 & 0 \\ 0 & 2 \end{pmatrix}", False, "entries"),
        (r"\begin{pmatrix} 5 \\ 6 \end{pmatrix}", r"\begin{pmatrix} 5 & 6 \end{pmatrix}", False, "a row for a column"),
    ],
    "percentage": [
        (r"40\%", "40 %", True, "a space"),
        (r"40\%", "40", True, "the sign left out"),
        ("40", r"40\%", True, "the sign added"),
        ("0.4", r"40\%", True, "its value"),
        (r"40\%", "4", False, "another number"),
    ],
    "unit": [
        (r"12 \text{ cm}", "12", True, "left out"),
        ("12", r"12 \text{ cm}", True, "added"),
        (r"12 \text{ cm}", r"12\mathrm{cm}", True, "in another font"),
        (r"12 \text{ cm}", "12 centimeters", True, "in words"),
        (r"12 \text{ cm}^2", r"12 \text{ square centimeters}", True, "squared in words"),
        (r"12 \text{ cm}", r"12 \text{ m}", False, "another unit"),
        (r"12 \text{ cm}^2", r"12 \text{ cm}^3", False, "another power"),
        (r"60 \text{ miles per hour}", r"60 \text{ mph}", True, "an abbreviation"),
        (r"60 \text{ km/h}", r"60 \text{ miles/hour}", False, "a quotient of other units"),
        (r"\$15", r"15 \text{ dollars}", True, "money"),
        (r"\$15", r"15 \text{ cents}", False, "less money"),
        (r"30^\circ", r"30 \text{ degrees}", True, "an angle"),
        (r"30^\circ", r"30 \text{ radians}", False, "another angle"),
        ("12", r"12 \text{ marbles}", True, "a noun is no unit"),
        (r"12 \text{ cm}", r"21 \text{ cm}", False, "the right unit of a wrong number"),
    ],
    "choice": [
        ("C", "(C)", True, "in parentheses"),
        ("C", "C.", True, "with a full stop"),
        ("C", r"\textbf{(C)}", True, "in bold"),
        ("(C)", r"\text{C}", True, "as text"),
        ("C", r"\textbf{(C) } 48", True, "with what it stands for"),
        ("C", "C: 48", True, "with a colon"),
        ("C", "(D)", False, "another letter"),
        ("C", "(B) or (C)", False, "two letters"),
        ("C", "C: 48, D: 50", False, "two choices"),
        ("C", "48", False, "the value alone, which nobody can check"),
    ],
    "no answer": [
        ("55", r"\sum_{k=1}^{10} k", False, "the question again: a sum"),
        (r"\frac{1}{3}", r"\int_0^1 t^2\,dt", False, "an integral"),
        ("0", r"\lim_{t \to \infty} \frac{1}{t}", False, "a limit"),
        ("7", r"\operatorname{gcd}(21, 35)", False, "a divisor"),
        ("10", r"\det \begin{pmatrix} 4 & 2 \\ 1 & 3 \end{pmatrix}", False, "a determinant"),
        ("5", "2 = 3 = 4 = 5", False, "a chain that passes every number"),
        ("5", "t = 4 = 5", False, "one with a name"),
        ("5", "4 = 5", False, "a false equation"),
        ("5", r"\neg 5", False, "a negation"),
        ("5", r"\text{not } 5", False, "one in words"),
        ("5", r"\neq 5", False, "one as a relation"),
        ("1011", "1011_2", False, "another base"),
        ("5", "5 or 6 or 7", False, "a list of guesses"),
    ],
}
ROWS = [(kind, *row) for kind, rows in PAIRS.items() for row in rows]


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    function = MathReward(num_workers=1)
    yield function
    function.close()


@pytest.fixture(scope="module")
def strict_reward() -> Iterator[MathReward]:
    function = MathReward(percent_matters=True, units_matter=True, num_workers=1)
    yield function
    function.close()


def judge(function: MathReward, gold: str, answer: str) -> Verdict:
    return function(Prompt("p1", (), answer=gold), Completion((1,), (0.0,), "stop", text=rf"Therefore $\boxed{{{answer}}}$."))


@pytest.mark.parametrize(("kind", "gold", "answer", "is_right", "shows"), ROWS)
def test_answers_of_every_kind(reward: MathReward, kind: str, gold: str, answer: str, is_right: bool, shows: str) -> None:
    verdict = judge(reward, gold, answer)
    assert verdict.score == float(is_right), f"{kind}, {shows}: {verdict.detail}"


@pytest.mark.parametrize(
    ("gold", "answer", "is_right"),
    [
        (r"40\%", "40%", True),
        (r"40\%", "40", False),
        (r"40\%", "0.4", True),
        (r"40\%", r"\frac{2}{5}", True),
        ("40", r"40\%", False),
        ("0.4", r"40\%", True),
        (r"\frac{x}{100}", r"x\%", True),
        ("x", r"x\%", False),
    ],
)
def test_a_percent_sign_can_be_made_to_matter(strict_reward: MathReward, gold: str, answer: str, is_right: bool) -> None:
    verdict = judge(strict_reward, gold, answer)
    assert verdict.score == float(is_right), verdict.detail


@pytest.mark.parametrize(
    ("gold", "answer", "is_right"),
    [
        (r"12 \text{ cm}", "12 cm", True),
        (r"12 \text{ cm}", "12", False),
        ("12", r"12 \text{ cm}", True),
        (r"12 \text{ marbles}", "12", True),
        (r"12 \text{ cm}", r"12 \text{ marbles}", False),
    ],
)
def test_a_unit_can_be_made_to_matter(strict_reward: MathReward, gold: str, answer: str, is_right: bool) -> None:
    verdict = judge(strict_reward, gold, answer)
    assert verdict.score == float(is_right), verdict.detail
    assert is_right or "instead of cm" in verdict.detail
