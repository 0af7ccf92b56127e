from fractions import Fraction

import pytest

from lit_rlvr.rewards.equality import normalized, numbers_agree, plain_number, why_not_an_answer, without_name


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (r"$\left( 1, 2 \right)$", "(1,2)", True),
        (r"\dfrac{1}{2}", r"\frac{1}{2}", True),
        (r"\(x\)", "x", True),
        (r"28\%", "28 %", True),
        (r"\$5.", "5", True),
        (r"1{,}000", "1,000", True),
        (r"a\,b", "a b", True),
        ("1 1/2", "11/2", False),
        (r"\sin x", r"\sinx", False),
        ("a", "A", False),
        ("1.5", "15", False),
        ("x^{12}", "x^12", False),
    ],
)
def test_normalizing_removes_what_has_no_meaning_only(first: str, second: str, same: bool) -> None:
    assert (normalized(first) == normalized(second)) is same


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72", Fraction(72)),
        ("-0072", Fraction(-72)),
        ("+1,234,567.5", Fraction(2469135, 2)),
        ("1 000", Fraction(1000)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        (r"-\frac{6}{4}", Fraction(-3, 2)),
        (r"\frac{-6}{4}", Fraction(-3, 2)),
        (r"\frac34", Fraction(3, 4)),
        ("6/4", Fraction(3, 2)),
        ("12,34", None),
        ("1,0000", None),
        ("0,111", None),
        ("1/0", None),
        (r"\frac{1}{0}", None),
        ("1e5", None),
        ("x", None),
        ("", None),
        ("-", None),
        ("1 1/2", None),
        ("٣", Fraction(3)),
    ],
)
def test_plain_numbers_are_exact(text: str, value: Fraction | None) -> None:
    assert plain_number(text) == value


@pytest.mark.parametrize(
    ("gold", "answer", "agree"),
    [
        ("72", "72.0", True),
        ("1/3", "2/6", True),
        ("1/3", "1/4", False),
        ("72", "71", False),
        ("1/3", "0.333333", None),
        ("1/3", "0.34", None),
        ("1/3", "0.35", False),
        ("72", "73.0", False),
        ("0.00001", "0.00002", False),
        ("0", "0.0000001", False),
        ("0.00001", "0.000010000001", True),
        ("72", "x", None),
    ],
)
def test_numbers_agree_differ_or_are_left_to_the_verifier(gold: str, answer: str, agree: bool | None) -> None:
    assert numbers_agree(gold, answer) is agree


def test_a_name_is_dropped_only_against_an_answer_without_one() -> None:
    assert without_name("x=5", "5") == "5"
    assert without_name(r"I_{\max}=5", "5") == "5"
    assert without_name("f(x)=x^2", "x^2") == "x^2"
    assert without_name("x=5", "y=5") == "x=5"
    assert without_name("2x+z=1", "1") == "2x+z=1"
    assert without_name("6=5", "5") == "6=5"
    assert without_name("x=1,y=2", "1") == "x=1,y=2"


@pytest.mark.parametrize(
    ("gold", "answer", "reason"),
    [
        ("5050", r"\sum_{i=1}^{100} i", r"unevaluated: \sum"),
        ("2", r"\lim_{x \to 0} \frac{\sin 2x}{x}", r"unevaluated: \lim"),
        ("6", r"\operatorname{gcd}(12, 18)", "unevaluated"),
        ("6", "gcd(12, 18)", "unevaluated"),
        ("6", r"\iint x", r"unevaluated: \iint"),
        ("-2", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "unevaluated"),
        ("2x", r"\frac{d}{dx} x^2", "unevaluated"),
        ("10", r"\dbinom{5}{2}", "unevaluated"),
        (r"\sum_{k=1}^n k", r"\sum_{j=1}^n j", ""),
        (r"(-\infty, 1)", r"(-\infty, 1)", ""),
        (r"\sin x", r"\sin x", ""),
        ("5", "1 = 2 = 5", "a chain of equations"),
        ("5", "x = 6 = 5", "a chain of equations"),
        ("5", "6 = 5", "an equation without an unknown on its left"),
        ("5", "x = 5", ""),
        ("x = 5, y = 6", "x = 5, y = 6", ""),
        ("a = b = 5", "5 = a = b", ""),
        ("x \\le 5", "x <= 5", ""),
        ("5", r"\neq 5", "a negation"),
        ("5", r"\text{not } 5", "a negation"),
        ("5", "x ≠ 5", "a negation"),
        (r"x \ne 5", r"x \neq 5", ""),
        ("5", r"\nu + 5", ""),
        ("knot", "knot", ""),
        ("101", "101_2", "number base 2 instead of 10"),
        ("101_2", "101", "number base 10 instead of 2"),
        ("101_2", "101_{2}", ""),
    ],
)
def test_what_is_no_answer(gold: str, answer: str, reason: str) -> None:
    problem = why_not_an_answer(gold, answer)
    assert problem.startswith(reason) if reason else problem == ""
