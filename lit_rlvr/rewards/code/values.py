"""Is what a function returned what was expected? Both are JSON; the returned text comes from an untrusted process."""

import json
import math
from fractions import Fraction
from typing import Any

from lit_rlvr.rewards.code.comparison import same_number

MAX_DEPTH = 100
"""Deepest nesting that is compared."""


def same_value(expected: str, got: str) -> bool:
    """Return whether two JSON texts are the same value; a text that is no JSON never is.

    A Boolean is not a number, `null` is only itself, an array may have been a list or a tuple, an object's keys are strings.
    Integers are exact; where a decimal was expected, numbers may differ by 1e-6, absolute or relative. Not a number is never right.

    >>> same_value("[1, 0.3]", "[1, 0.30000000000000004]"), same_value("1", "true"), same_value("1", "1.0")
    (True, False, True)
    """
    try:
        return _same(json.loads(expected), json.loads(got), MAX_DEPTH)
    except (ValueError, RecursionError):  # not JSON, integers of thousands of digits, bottomless nesting
        return False


def _same(expected: Any, got: Any, depth: int) -> bool:
    if depth == 0:
        return False
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(_same(a, b, depth - 1) for a, b in zip(expected, got, strict=True))
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(_same(expected[key], got[key], depth - 1) for key in expected)
    if _is_number(expected) and _is_number(got):
        return _same_number(expected, got)
    return type(expected) is type(got) and bool(expected == got)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same_number(expected: float, got: float) -> bool:
    if not all(math.isfinite(value) for value in (expected, got) if isinstance(value, float)):
        return expected == got
    return same_number(Fraction(expected), Fraction(got), isinstance(expected, float))
