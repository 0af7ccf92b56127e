"""Finding the program in a completion, in linear time and without parsing a line of it."""

from dataclasses import dataclass

from lit_rlvr.rewards.answer import after_thinking

LANGUAGES = frozenset({"py", "python", "python3"})
"""Names behind the opening fence, in lower case, that mark a block as the program. So does a bare fence."""
FENCE = "```"


@dataclass(frozen=True)
class Program:
    """What was found: the program's source, or the reason why there is none to run."""

    text: str
    problem: str = ""
    """Empty when there is a program; otherwise why there is none."""


def extract_program(text: str, think_end: str = "</think>", max_bytes: int = 262_144) -> Program:
    r"""Return the program of a completion: its last closed block of Python, or of no stated language.

    A fence opens a block at the start of a line (indentation allowed) or, when it names Python, at the end of any line; as many
    backticks at the start of a line close it. Blocks of other languages are passed over, and so is a block that is never closed:
    the closed one before it counts. A fence with the name of a language inside an open block starts anew.

    >>> extract_program("<think>no</think> Here:\n```python\nprint(1)\n```").text
    'print(1)\n'

    Args:
        text: the completion, without special tokens.
        think_end: only the text after the last occurrence of this marker is looked at; all of it when it is absent or empty.
        max_bytes: longest program in UTF-8.
    """
    visible = after_thinking(text, think_end)
    code, is_open = _last_block(visible.split("\n"))
    if code is None:
        place = f"after {think_end}" if len(visible) < len(text) else "in the completion"
        return Program("", f"the code block is not closed {place}" if is_open else f"no Python code block {place}")
    try:
        size = len(code.encode())
    except UnicodeEncodeError as error:
        return Program("", f"the program is not valid Unicode ({error.reason})")
    if size > max_bytes:
        return Program("", f"program rejected: {size} bytes, at most {max_bytes}")
    return Program(code) if code.strip() else Program("", "the code block is empty")


def fenced(program: str) -> str:
    """Return a completion that is nothing but the program's block."""
    return f"{FENCE}python\n{program}\n{FENCE}"


def _last_block(lines: list[str]) -> tuple[str | None, bool]:
    """Return the last closed block of a language that counts, None without one, and whether a block is open at the end."""
    last: tuple[int, int, int] | None = None
    length = start = indent = 0
    counts = False
    for number, line in enumerate(lines):
        if FENCE not in line:
            continue
        before, ticks, info = _fence(line)
        is_python = bool(info) and info[0] in LANGUAGES
        if before and not is_python:
            continue
        if length and not is_python and len(info) != 1:
            if ticks >= length:
                last = (start, number, indent) if counts else last
                length = 0
        elif ticks >= len(FENCE):
            length, start, counts = ticks, number + 1, is_python or not info
            indent = 0 if before else len(line) - len(line.lstrip(" \t"))
    if last is None:
        return None, length > 0
    first, end, indent = last
    return "".join(f"{_dedented(line, indent)}\n" for line in lines[first:end]), length > 0


def _fence(line: str) -> tuple[str, int, list[str]]:
    """Return what stands before the last run of backticks, the run's length, and the words after it in lower case."""
    head, _, info = line.rpartition("`")
    before = head.rstrip("`")
    return before.strip(), len(head) - len(before) + 1, info.lower().split()


def _dedented(line: str, indent: int) -> str:
    line = line.removesuffix("\r")
    return line[indent:] if not line[:indent].strip() else line
