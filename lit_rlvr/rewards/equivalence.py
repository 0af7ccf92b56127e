r"""What the verifier's process computes: whether two answers mean the same, and whether a gold answer can be read.

Everything of math-verify is here. This file is loaded on its own, by a process that has nothing else of the package in it.
"""

import logging
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mbox|mathrm|operatorname)\s*\{[^{}]*\}(?:\s*\^\s*(?:\d|\{\d\}))?")
_BASE = re.compile(r"(?<=\d)_(?:\d|\{\d+\})")
_ATOM = re.compile(r"\\(?:begin|end)\s*\{\w+\}|\\?[a-zA-Z]+|\d+")
_NUMBER_OR_LETTER = re.compile(r"\d+|[a-zA-Z]")
_WORDS_AT_THE_END = re.compile(
    r"(?<=[\d})\]])\s*\\(?:text(?:bf|it|rm)?|mbox|mathrm)\s*\{(?!\s*[a-zA-Z]?\s*\})[^{}\d]*\}(?:\s*\^\s*(?:\d|\{\d\}))?(?=[\s.$}\\)\]]*\Z)"
    r"|(?<=\d)\s+[a-zA-Z]{3,}(?:\s+[a-zA-Z]{2,}){0,3}(?=[\s.$}\\)\]]*\Z)"
)
_DERIVATIVE = re.compile(r"\\[dt]?frac\s*\{\s*d\s*(\\[a-zA-Z]+|[a-zA-Z])\s*\}\s*\{\s*d\s*([a-zA-Z])\s*\}")
_SCIENTIFIC = re.compile(r"(?<=\d)[eE]([+-]?\d{1,4})(?![\d.])")


def warm_up() -> None:
    """Load the libraries, and compute what the first answers would otherwise wait for."""
    logging.disable(logging.CRITICAL)
    equivalent("x+1", r"\frac{2x+2}{2}")


def equivalent(gold: str, answer: str) -> bool:
    """Return whether `answer` means the same as `gold`."""
    from math_verify import verify

    parsed_gold, parsed_answer = _parse(gold), _parse(answer)
    are_equal = verify(parsed_gold, parsed_answer, allow_set_relation_comp=True, timeout_seconds=None)
    return bool(are_equal) and not _differ_though_tiny(parsed_gold, parsed_answer)


def gold_problem(gold: str) -> str:
    r"""Return why nothing could be paid fairly against this gold answer; an empty string when all is well.

    It must be readable, equal to itself, and read to its end: a gold answer of which the parser keeps a part is refused because a
    change of its first or last number or letter does not change what is read.
    """
    parsed = _parse(gold)
    if not parsed or isinstance(parsed[0], str) or parsed[0].has(*_undefined()):
        return "does not parse as mathematics"
    if not equivalent(gold, gold):
        return "is not equal to itself when it is verified"
    return f"is read as {str(parsed[0])[:60]!r}: its {unread!r} is ignored" if (unread := _unread(gold)) else ""


@lru_cache(maxsize=64)
def _parse(text: str) -> list[Any]:
    from math_verify import parse

    # math-verify reads an upright e as the unit "excess" and a fraction over it as half a fraction, and stumbles over x_{\max}
    text = re.sub(r"\\(?:mathrm|text|rm)\s*(?:\{\s*e\s*\}|(?<=\s)e(?![a-zA-Z]))", "{e}", text)
    text = re.sub(r"_\{\s*\\(max|min)\s*\}", r"_{\1}", text)
    text = _SCIENTIFIC.sub(r" \\times 10^{\1}", text)  # it takes 1e-8 for e - 8
    text = _DERIVATIVE.sub(r"{\1_{d\2}}", text)  # and every dx/dt for the derivative of a constant: 0
    text = _WORDS_AT_THE_END.sub("", text)
    if not re.search(r"\\boxed|\$|\\\(|\\\[", text):
        text = rf"\boxed{{{text}}}"
    return list(parse(text, extraction_config=_extraction(), parsing_timeout=None))


@lru_cache(maxsize=1)
def _extraction() -> tuple[Any, ...]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig

    # its own list of units holds t, h, c, m, ab: it would take 3t for 3
    latex = LatexExtractionConfig(boxed_match_priority=0)
    return replace(latex, normalization_config=replace(latex.normalization_config, units=False)), ExprExtractionConfig()


def _unread(text: str) -> str:
    """Return the first or last number or letter if it can be changed without a change of what is read, or an empty string."""
    read = _parse(text)[0]
    hidden = [match.span() for pattern in (_TEXT, _BASE) for match in pattern.finditer(text)]
    atoms = [match for match in _ATOM.finditer(text) if _NUMBER_OR_LETTER.fullmatch(match.group())]
    visible = [match for match in atoms if not any(start <= match.start() < end for start, end in hidden)]
    for match in dict.fromkeys([*visible[:1], *visible[-1:]]):
        atom = match.group()
        other = "7" + atom if atom.isdigit() else "w" if atom != "w" else "x"
        varied = _parse(text[: match.start()] + other + text[match.end() :])
        if varied and not isinstance(varied[0], str) and bool(varied[0] == read):
            return atom
    return ""


def _undefined() -> tuple[Any, ...]:
    from sympy import nan, zoo

    return nan, zoo


def _differ_though_tiny(gold: list[Any], answer: list[Any]) -> bool:
    """Return True for different numbers of which one is below 1e-4, where rounding to six decimals could make them equal."""
    from sympy import Expr

    numbers = [x for items in (gold, answer) for x in items[:1] if isinstance(x, Expr) and x.is_number]
    if len(numbers) != 2:
        return False
    try:
        first, second = (abs(number.evalf(30)) for number in numbers)
    except (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError):
        return False  # not a number after all
    if not (first.is_Float or first.is_zero) or not (second.is_Float or second.is_zero):
        return False
    if any(x.is_Float and x._prec == 1 for x in (first, second)):  # a zero that was not recognized as one: only noise is left
        return False
    return bool(min(first, second) < 1e-4 and abs(first - second) > 1e-6 * max(first, second))
