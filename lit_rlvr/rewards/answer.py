r"""Finding the final answer in a completion, in linear time and without trusting a character of it."""

import re
import unicodedata
from dataclasses import dataclass

MAX_CHARACTERS = 512
"""Longest answer that is judged."""
MAX_NESTING = 40
"""Deepest nesting of brackets that is judged."""
MAX_DIGITS = 100
"""Longest run of digits that is judged."""

_BRACE = re.compile(r"\\{1,2}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_SEPARATOR = re.compile(
    r"(?:[\s,;$]|\\[()\[\],;: ]|\\q?quad(?![a-zA-Z])|\\(?:text|mbox)\s*\{\s*,?\s*(?:and|or)?\s*\}|(?:and|or)(?![a-zA-Z])"
    r"|[a-zA-Z](?:_\{?\w{1,4}\}?)?\s*=)*"
)
_MAX_SEPARATOR = 70
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


@dataclass(frozen=True)
class Answer:
    """What was found: the answer's text, or the reason why there is none to judge."""

    text: str
    problem: str = ""
    """Empty when the answer can be judged; otherwise why it cannot (none found, over a limit)."""


def extract_answer(text: str, pattern: re.Pattern[str] | None = None, think_end: str = "</think>") -> Answer:
    r"""Return the final answer of a completion, cleaned, or the reason why there is none.

    >>> extract_answer(r"<think>\boxed{1}?</think> It is \boxed{\frac{1}{2}}.").text
    '\\frac{1}{2}'

    Args:
        text: the completion, without special tokens.
        pattern: the answer is group 1 (the whole match when there is no group) of the last match; None takes the last
            balanced `\boxed{...}`, together with the boxes joined to it by nothing but separators ("\boxed{1} and \boxed{2}").
        think_end: only the text after the last occurrence of this marker is looked at; all of it when it is absent or empty.
    """
    visible = after_thinking(text, think_end)
    found = last_boxed(visible) if pattern is None else _last_match(visible, pattern)
    if found is None:
        place = f"after {think_end}" if len(visible) < len(text) else "in the completion"
        return Answer("", f"no {'boxed answer' if pattern is None else f'match of {pattern.pattern!r}'} {place}")
    if len(found) > MAX_CHARACTERS:
        return Answer("", f"rejected: {len(found)} characters, at most {MAX_CHARACTERS}")
    cleaned = clean(found)
    problem = "the answer is empty" if not cleaned else limit_problem(cleaned)
    return Answer("" if problem else cleaned, problem)


def after_thinking(text: str, think_end: str = "</think>") -> str:
    """Return what follows the last `think_end`; all of the text when the marker is absent or empty."""
    return text.rpartition(think_end)[2] if think_end else text


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last balanced `\boxed{...}` (or `\fbox`), None when there is none.

    Boxes that are separated by nothing but commas, "and", "or", spacing or `name =` are the parts of one answer and are
    joined by a comma: an answer cannot be hedged by boxing two candidates side by side.
    """
    boxes = _boxes(text)
    if not boxes:
        return None
    parts = [boxes[-1]]
    for start, end, content in reversed(boxes[:-1]):
        gap = text[end : min(parts[-1][0], end + _MAX_SEPARATOR + 1)]
        if len(gap) > _MAX_SEPARATOR or not _SEPARATOR.fullmatch(gap):
            break
        parts.append((start, end, content))
    return ", ".join(dict.fromkeys(content for _, _, content in reversed(parts)))


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """Return (start, end, content) of every balanced box that is not inside another; one pass over the text."""
    boxes: list[tuple[int, int, str]] = []
    open_braces: list[tuple[int, int, bool]] = []
    for match in _BRACE.finditer(text):
        token = match.group()
        if token.endswith("{") and token != r"\{":
            open_braces.append((match.start(), match.end(), len(token) > 1))
        elif token == "}" and open_braces:
            start, content_start, is_box = open_braces.pop()
            if is_box:
                content, inner = text[content_start : match.start()].strip(), None
                while boxes and boxes[-1][0] > start:
                    inner = boxes.pop()
                if inner is not None and inner[1] - inner[0] == len(content):  # a box in a box and nothing else
                    content = inner[2]
                boxes.append((start, match.end(), content))
    return boxes


def _last_match(text: str, pattern: re.Pattern[str]) -> str | None:
    last = None
    for match in pattern.finditer(text):
        last = match
    return None if last is None else (last.group(1 if pattern.groups else 0) or "").strip()


def clean(text: str) -> str:
    r"""Return the text in one spelling: NFKC, invisible characters removed, typographic minus and powers in ASCII.

    >>> print(clean("５²\u200b −1½"))
    5^{2} -1\frac{1}{2}
    """
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda m: f"^{{{m.group().translate(_SUPERSCRIPTS)}}}", text)
    text = re.sub("[₀₁₂₃₄₅₆₇₈₉]+", lambda m: f"_{{{m.group().translate(_SUBSCRIPTS)}}}", text)
    text = re.sub("[¼-¾⅐-⅞]", _vulgar_fraction, text)
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("\u2044", "/")
    return "".join(c for c in text if unicodedata.category(c) != "Cf").strip()


def _vulgar_fraction(match: re.Match[str]) -> str:
    numerator, _, denominator = unicodedata.normalize("NFKC", match.group()).partition("\u2044")
    return rf"\frac{{{numerator}}}{{{denominator}}}"


def limit_problem(answer: str) -> str:
    """Return why an answer is too large to be judged, or an empty string."""
    if len(answer) > MAX_CHARACTERS:
        return f"rejected: {len(answer)} characters, at most {MAX_CHARACTERS}"
    digits = max(map(len, re.findall(r"\d+", answer)), default=0)
    if digits > MAX_DIGITS:
        return f"rejected: {digits} digits in a row, at most {MAX_DIGITS}"
    depth = deepest = 0
    for character in answer:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_NESTING:
        return f"rejected: nesting of {deepest}, at most {MAX_NESTING}"
    return ""


def has_balanced_braces(text: str) -> bool:
    r"""Return whether every brace that is not written as `\{` or `\}` has its partner.

    >>> has_balanced_braces(r"\left\{ \frac{1}{2} \right."), has_balanced_braces("5} + {6")
    (True, False)
    """
    depth = 0
    for token in _BRACE.findall(text):
        depth += 1 if token[-1] == "{" and token != r"\{" else -1 if token == "}" else 0
        if depth < 0:
            return False
    return depth == 0


def gold_after_marker(solution: str, marker: str = "####") -> str:
    """Return what follows the last `marker` of a worked solution, as GSM8K writes its answers.

    >>> gold_after_marker("48 + 24 = 72 #### 72")
    '72'

    Raises:
        ValueError: the marker is missing, or nothing follows it.
    """
    _, found, gold = solution.rpartition(marker)
    if not found or not gold.strip():
        raise ValueError(f"no answer after the marker {marker!r} in the solution ending with {solution[-80:]!r}")
    return gold.strip()
