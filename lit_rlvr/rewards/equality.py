"""What can be decided about two answers without symbolic mathematics: equal spelling, equal numbers, answers that only echo."""

import re
from fractions import Fraction

_SIZES = re.compile(r"\\(?:left|right|displaystyle)(?![a-zA-Z])|\\!")
_SPACES = re.compile(r"\\[,;: ]|\\q?quad(?![a-zA-Z])|~|\s+")
_LOOSE_SPACE = re.compile(r"(?<![0-9a-zA-Z]) | (?![0-9a-zA-Z])")
_INTEGER = r"\d+|[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?: \d{3})+"
_NUMBER = re.compile(rf"([-+]?)(?:({_INTEGER})(\.\d*)?|(\.\d+))")
_FRACTION = re.compile(r"([-+]?)(?:\\frac\{(-?\d+)\}\{(\d+)\}|\\frac(\d)(\d)|(\d+)/(\d+))")
_BASE = re.compile(r"[0-9a-zA-Z]*\d[0-9a-zA-Z]*_\{?(\d+)\}?")
_UNEVALUATED = re.compile(
    r"\\(?:sum|prod|i*nt|oint|lim|det|gcd|lcm|[dt]?binom|choose)(?![a-zA-Z])"
    r"|\\(?:operatorname\*?|mathrm|text)\s*\{\s*(?:sum|prod|lim|det|gcd|lcm)\s*\}"
    r"|(?<![a-zA-Z\\])(?:sum|prod|det|gcd|lcm)\s*\(|\\frac\s*\{\s*d\s*\}\s*\{\s*d\s*[a-z]\s*\}|\\begin\s*\{vmatrix\}|[∑∏∫]"
)
_NEGATION = re.compile(r"\\(?:neq?|neg|lnot|not(?:in)?)(?![a-zA-Z])|[≠¬]|(?<![a-zA-Z\\])not(?![a-zA-Z])", re.IGNORECASE)
_EQUALS = re.compile(r"(?<![<>!:])=")
_PARTS = re.compile(r"[,;]|\\\\|\\text\s*\{\s*(?:and|or)\s*\}|(?<![a-zA-Z])(?:and|or)(?![a-zA-Z])")
_NAMED = re.compile(r"\\?[a-zA-Z]+(?:_(?:\{[^{}]*\}|\w))?(?:\([a-zA-Z]\))?=([^=,;]+)")
_LETTER = re.compile(r"[a-zA-Z]")


def normalized(answer: str) -> str:
    r"""Return the answer without what never changes its meaning: dollar signs, sizes, spacing, a final full stop.

    A space between two letters or digits stays: `1 1/2` is not `11/2`.

    >>> normalized(r"$\left(1,\, \dfrac{1}{2}\right)$.")
    '(1,\\frac{1}{2})'
    """
    text = re.sub(r"\\[dtc]frac(?![a-zA-Z])", lambda _: r"\frac", answer.replace(r"\$", "").replace("$", ""))
    text = re.sub(r"^\s*\\[(\[]|\\[)\]]\s*$", "", text.replace("{,}", ",").replace(r"\%", "%"))
    text = _SPACES.sub(" ", _SIZES.sub("", text)).strip()
    return _LOOSE_SPACE.sub("", text.removesuffix("."))


def without_name(answer: str, other: str) -> str:
    """Return the value of a normalized `name = value` when the other answer names nothing; otherwise the answer as it is.

    >>> without_name("x_1=5", "5"), without_name("x=5", "y=5"), without_name("2x+z=1", "1")
    ('5', 'x=5', '2x+z=1')
    """
    match = None if "=" in other else _NAMED.fullmatch(answer)
    return match.group(1).strip() if match else answer


def plain_number(answer: str) -> Fraction | None:
    r"""Return the exact value of a normalized integer, decimal or simple fraction, None for anything else.

    >>> plain_number("1,000.50"), plain_number(r"-\frac{3}{6}"), plain_number("x")
    (Fraction(2001, 2), Fraction(-1, 2), None)
    """
    if match := _NUMBER.fullmatch(answer):
        sign, integer, decimals, decimals_only = match.groups()
        digits = (integer or "").replace(",", "").replace(" ", "") + (decimals or decimals_only or "")
        return Fraction(sign + digits)
    if match := _FRACTION.fullmatch(answer):
        numerator, denominator = (int(group) for group in match.groups()[1:] if group is not None)
        return None if denominator == 0 else Fraction(numerator, denominator) * (-1 if match.group(1) == "-" else 1)
    return None


def numbers_agree(gold: str, answer: str) -> bool | None:
    """Return whether two normalized plain numbers are equal, None when exact arithmetic does not decide it.

    A decimal that is close to the gold answer may be its rounding, which is left to the verifier unless one of the two is tiny
    (below 1e-4, where rounding to six decimals would swallow the difference).
    """
    first, second = plain_number(gold), plain_number(answer)
    if first is None or second is None:
        return None
    if first == second:
        return True
    if "." not in gold + answer:
        return False
    if min(abs(first), abs(second)) < Fraction(1, 10_000):
        return abs(first - second) <= Fraction(1, 1_000_000) * max(abs(first), abs(second))
    is_far = abs(first - second) > Fraction(1, 100) * max(abs(first), abs(second), Fraction(1))
    return False if is_far else None


def why_not_an_answer(gold: str, answer: str) -> str:
    r"""Return why the answer may not be paid whatever its value: it repeats the question or asserts what is false.

    Rejected unless the gold answer does the same: unevaluated operators (`\sum`, `\int`, `\lim`, `\gcd`, ...), chains of
    equations (`1 = 2 = 5`), equations without an unknown on the left (`6 = 5`), negations, of which a parser keeps what is negated
    (`\ne 5`), another number base (`101_2` for `101`).
    """
    if (echo := _UNEVALUATED.search(answer)) and not _UNEVALUATED.search(gold):
        return f"unevaluated: {echo.group()}"
    if _NEGATION.search(answer) and not _NEGATION.search(gold):
        return "a negation"
    if "=" in answer:
        sides = max((_EQUALS.split(part) for part in _PARTS.split(answer)), key=len)
        if len(sides) > max(2, len(_EQUALS.split(gold))):
            return "a chain of equations"
        if len(sides) == 2 and not _LETTER.search(sides[0]) and "=" not in gold:
            return "an equation without an unknown on its left"
    bases = [match.group(1) if (match := _BASE.fullmatch(normalized(text))) else "10" for text in (gold, answer)]
    return f"number base {bases[1]} instead of {bases[0]}" if bases[0] != bases[1] else ""
