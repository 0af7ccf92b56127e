"""Answers written to hang, blow up, break or take over the verifier: none is paid, none is an error, none does anything."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lit_rlvr.rewards import MathReward
from lit_rlvr.rewards.verifier_worker import GaveUpError
from lit_rlvr.types import Completion, Prompt, Verdict

CPU_S, WALL_S = 0.4, 6.0
REJECTED, WRONG, GAVE_UP = "rejected: ", "not equivalent", "gave up: took more than 0.4 s of CPU time"

HOSTILE = {
    # numbers that do not fit the machine
    "power tower": ("3", "7^{7^{7^{7}}}", GAVE_UP),
    "braced power tower": ("3", "{{8^{8}}^{8^{8^8}}}", GAVE_UP),
    "tower of ten": ("12", "10^{10^{9}}", GAVE_UP),
    "giant exponent": ("12", "6^{123456789}", GAVE_UP),
    "giant exponent in a pair": ("(1, 2)", "(5^{987654321}, 2)", GAVE_UP),
    "giant exponent in a matrix": (
        r"\begin{pmatrix} 1 & 2 \end{pmatrix}",
        r"\begin{pmatrix} 7^{10^9} & 2 \end{pmatrix}",
        GAVE_UP,
    ),
    "giant exponent in a bound": ("x > 2", "x > 11^{10^{9}}", GAVE_UP),
    "giant exponent below a fraction": ("0", r"\frac{1}{2 + 3^{10^{9}}}", ""),
    "difference of giants": ("0", r"7^{10^{9}} - 7^{10^{9}} + 3", ""),
    "giant under a root": ("4", r"\sqrt[3]{5^{10^9} + 2}", ""),
    "remainder of a giant": ("4", r"9^{9^{9^{9}}} \bmod 10", ""),
    "floor of a giant": ("3", r"\lfloor e^{10^{8}} \rfloor", GAVE_UP),
    "factorial of a factorial": ("6", "((9!)!)!", ""),
    "factorials of a million": ("1", r"\frac{1000000!}{999999!} - 999999 + 3", ""),
    "double factorial tower": ("1", "10!!!!!!!!!!", ""),
    "million digits": ("5", "4" * 1_000_000, REJECTED),
    "hundred and one digits": ("5", "4" * 101, REJECTED),
    "million decimals": ("5", "4." + "0" * 999_999 + "1", REJECTED),
    "scientific notation of a giant": ("5", "1e99999", ""),
    "scientific notation of a dwarf": ("0", "1e-9999", ""),
    "power of a decimal": ("5", r"1.000000001^{10^{15}}", ""),
    # expressions that grow
    "power of a sum": ("x", r"(x + y + z + w)^{400} + 1", ""),
    "nested powers of sums": ("x", r"((((x+1)^{9}+1)^{9}+1)^{9}+1)^{9}", ""),
    "roots of roots": ("2", r"\sqrt{3+" * 12 + "x" + "}" * 12, ""),
    "root of a sum of roots": ("2", "+".join(rf"\sqrt{{{n}}}" for n in range(2, 40)), ""),
    "continued fraction": ("2", r"1+\frac{1}{" * 25 + "x" + "}" * 25, ""),
    "logarithms of logarithms": ("2", r"\log(" * 30 + "10^{10^{9}}" + ")" * 30, ""),
    "sines of sines": ("2", r"\sin(" * 30 + "x" + ")" * 30, ""),
    "polynomial of a high degree": ("x = 1", "x^{500} - 3x^{217} + 7x^{5} - 5 = 0", ""),
    "product of many factors": ("x", "".join(f"(x^{{{n}}}-{n})" for n in range(2, 40)), ""),
    "set of giants": (r"\{1, 2\}", r"\{" + ",".join(f"{n}^{{10^9}}" for n in range(2, 12)) + r"\}", ""),
    "union of many intervals": ("(0, 1)", r" \cup ".join(f"({2 * n}, {2 * n + 1})" for n in range(35)), ""),
    "chain of inequalities": ("x > 1", " < ".join(f"x_{{{n}}}" for n in range(60)), ""),
    # questions instead of answers
    "sum of a huge range": ("5", r"\sum_{k=1}^{10^{9}} \frac{1}{k^2}", "unevaluated"),
    "infinite sum": ("5", r"\sum_{k=1}^{\infty} \frac{\cos(k^3)}{k}", "unevaluated"),
    "product of a huge range": ("5", r"\prod_{k=1}^{10^{7}} (k+2)", "unevaluated"),
    "integral without a closed form": ("5", r"\int_0^1 \frac{e^{-x^5}}{1+\ln(1+x^x)} dx", "unevaluated"),
    "limit of a tower": ("5", r"\lim_{n \to \infty} n^{n^{n}}", "unevaluated"),
    "divisor of powers": ("1", r"\gcd(3^{10^9}-1, 5^{10^9}-1)", "unevaluated"),
    "huge binomial": ("1", r"\binom{10^9}{10^8}", "unevaluated"),
    # form
    "deep nesting": ("5", "(" * 3000 + "5" + ")" * 3000, REJECTED),
    "nesting below the limit": ("5", "(" * 40 + "6" + ")" * 40, ""),
    "braces without an end": ("5", r"\frac{" * 20 + "6" + "}" * 20, ""),
    "bars": ("5", "|" * 200 + "6" + "|" * 200, ""),
    "minus signs": ("5", "-" * 501 + "5", ""),
    "carets": ("5", "2^2^2^2^2^2^2^2^2", ""),
    "commands that do not exist": ("5", r"\foo\bar\baz{5}", ""),
    "right to left": ("51", "\u202e15\u202c", ""),
    "look-alike minus and digits": ("5", "\u2010\u0665", ""),
    "letters of other scripts": ("x", "х", ""),
    "combining marks": ("5", "6" + "\u0301" * 400, ""),
    "surrogates": ("5", "\ud83d6", ""),
    "control characters": ("5", "6\x00\x1b[2J\x07", ""),
    "emoji": ("5", "👨‍👩‍👧‍👦" * 50, ""),
}


def judge(function: MathReward, gold: str, answer: str) -> Verdict:
    return function(Prompt("p1", (), answer=gold), Completion((1,), (0.0,), "stop", text=rf"So \boxed{{{answer}}}."))


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    function = MathReward(cpu_s=CPU_S, wall_s=WALL_S, num_workers=1)
    assert judge(function, "x+1", "1+x").score == 1.0
    yield function
    function.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_wrong_within_the_limits(reward: MathReward, name: str) -> None:
    gold, answer, outcome = HOSTILE[name]
    start = time.perf_counter()
    verdict = judge(reward, gold, answer)
    assert time.perf_counter() - start < WALL_S
    assert verdict.score == 0.0, verdict.detail
    assert outcome in verdict.detail


CODE = "import pathlib; pathlib.Path('{canary}').touch()"
EXECUTED_BY_SOME_GRADER = [
    "exec({code!r})",
    "eval(compile({code!r}, '', 'exec'))",
    "__import__('os').system('touch {canary}')",
    r"__import__('os').system('touch {canary}') + 0\pi",
    "().__class__.__base__.__subclasses__()[0].__init__.__globals__['exec']({code!r})",
    "[exec({code!r}), 1]",
    "{{exec({code!r})}}",
    r"\begin{{pmatrix}} exec({code!r}) \\ 1 \end{{pmatrix}}",
    r"\sum_{{k=exec({code!r})}}^{{2}} k",
    r"\text{{exec}}({code!r})",
    "lambda x: exec({code!r})",
    "Symbol('x').subs('x', \"exec({code!r})\")",
    "$(touch {canary})",
    "`touch {canary}`",
    r"\immediate\write18{{touch {canary}}}",
    r"\input{{|touch {canary}}}",
]


@pytest.mark.parametrize("template", EXECUTED_BY_SOME_GRADER)
def test_no_answer_is_executed(reward: MathReward, template: str, tmp_path: Path) -> None:
    canary = tmp_path / "c"
    answer = template.format(canary=canary, code=CODE.format(canary=canary))
    for gold in ("5", "x+1", "(1, 2)", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"):
        verdict = judge(reward, gold, answer)
        assert verdict.score == 0.0, verdict.detail
        # past the gates that stand before the verifier: as answer, as gold answer, and as both
        for pair in ((gold, answer), (answer, gold)):
            with contextlib.suppress(GaveUpError):
                assert not reward._verifier.equivalent(*pair)
    reward._verifier.gold_problem(answer)
    assert not canary.exists()


def test_the_verifier_still_judges(reward: MathReward) -> None:
    judge(reward, "3", "5^{5^{5^{5}}}")
    assert judge(reward, "x+2", "2+x").score == 1.0
    assert judge(reward, "x+2", "3+x").score == 0.0
