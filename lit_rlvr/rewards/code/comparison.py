"""Is what a program printed what was expected? Decided on bytes; nothing the program wrote is ever evaluated."""

import re
from fractions import Fraction

TOLERANCE = Fraction(1, 1_000_000)
"""Largest difference, absolute or relative to the expected value, where a decimal was expected."""

_NUMERAL = re.compile(rb"[+-]?(?:(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_LONGEST_NUMERAL = 88
_IS_DECIMAL = re.compile(rb"[.eE]")
_GAPS = re.compile(rb"\s+")


def same_output(expected: bytes, got: bytes) -> bool:
    r"""Return whether two texts agree, by LiveCodeBench's rules with a tolerance for decimals.

    White space at the ends of lines and blank lines at the end do not count. There must be as many lines, and each is equal as it
    stands or has as many tokens, equal as text or as numbers. Numbers are exact, except where the expected one has a `.` or an
    exponent: then they may differ by 1e-6, absolute or relative. Numerals are ASCII, of at most 40 digits, without leading zeros
    (`0010` is a string of digits) and without underscores; anything else must be equal as text. The gaps between tokens must
    agree unless the whole line is numbers. Unlike there, indentation and leading blank lines count: a figure's shape is its text.

    >>> same_output(b"0.5 2\n", b"0.5000001  2 \r\n"), same_output(b"10\n", b"10.0000001\n"), same_output(b"ab", b"a b")
    (True, False, False)
    """
    wanted, lines = _lines(expected), _lines(got)
    return len(wanted) == len(lines) and all(map(_same_line, wanted, lines))


def same_number(expected: Fraction, got: Fraction, is_decimal: bool) -> bool:
    """Return whether two numbers agree: exactly or, where a decimal was expected, to 1e-6 absolute or relative.

    Args:
        expected: the right value.
        got: the value to judge.
        is_decimal: whether the expected value was written as a decimal.
    """
    return expected == got or (is_decimal and abs(expected - got) <= TOLERANCE * max(Fraction(1), abs(expected)))


def _lines(text: bytes) -> list[bytes]:
    return [line.rstrip() for line in text.rstrip().split(b"\n")]


def _same_line(expected: bytes, got: bytes) -> bool:
    if expected == got:
        return True
    wanted, tokens = expected.split(), got.split()
    if len(wanted) != len(tokens) or not all(a == b or _same_numeral(a, b) for a, b in zip(wanted, tokens, strict=True)):
        return False
    return _GAPS.findall(expected) == _GAPS.findall(got) or all(_number(token) is not None for token in wanted)


def _same_numeral(expected: bytes, got: bytes) -> bool:
    wanted, number = _number(expected), _number(got)
    if wanted is None or number is None:
        return False
    return same_number(wanted, number, _IS_DECIMAL.search(expected) is not None)


def _number(token: bytes) -> Fraction | None:
    if len(token) > _LONGEST_NUMERAL or not _NUMERAL.fullmatch(token):
        return None
    return Fraction(token.decode("ascii"))
