r"""Letters of multiple choice, in the ways they are written: `A`, `(A)`, `A.`, `\text{(A)}`, `\textbf{A}`, `A: 5`."""

import re

_DECORATION = re.compile(r"\\(?:text(?:bf|it|rm|sf)?|math(?:rm|bf|sf|it)|mbox|bf|rm)(?![a-zA-Z])|\\[ ,;:!()]|[{}$~*]")
_ALONE = re.compile(r"(?:(?i:option|choice|answer)\s+)?(?:([A-J])|[(\[]\s*([A-Ja-j])\s*[)\]]|([A-J])[.:)])\.?")
_BEFORE_TEXT = re.compile(r"(?:\(([A-J])\)|([A-J])[.:)])\s*(?=[^\s.:)])")
_LETTER_ALONE = re.compile(r"(?<![a-zA-Z])[A-J](?![a-zA-Z])")


def choice_of(answer: str) -> str:
    r"""Return the letter a cleaned answer chooses, an empty string when it is no choice or names a second letter.

    >>> [choice_of(answer) for answer in ("A", r"\textbf{(B)}", "C.", r"\text{D: } 5", "(e)", "A. or B", "AB", "x")]
    ['A', 'B', 'C', 'D', 'E', '', '', '']
    """
    text = _DECORATION.sub("", answer).strip()
    if match := _ALONE.fullmatch(text):
        return next(group for group in match.groups() if group).upper()
    if (match := _BEFORE_TEXT.match(text)) and not _LETTER_ALONE.search(text, match.end()):
        return next(group for group in match.groups() if group)
    return ""
