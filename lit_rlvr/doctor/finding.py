"""What a check has found."""

from dataclasses import dataclass
from enum import IntEnum

from rich.text import Text


class State(IntEnum):
    """How bad it is; of several, the largest counts."""

    GREEN = 0
    """As it should be."""
    YELLOW = 1
    """Could not be told, or is worth a look."""
    RED = 2
    """Would spoil the run."""


@dataclass(frozen=True)
class Finding:
    """The result of one check: one line, and what belongs to it."""

    state: State
    summary: str
    """One sentence, with its numbers."""
    details: tuple[str | Text, ...] = ()
    """Further lines."""
    mend: str = ""
    """What to do about it."""


def green(summary: str, *details: str | Text) -> Finding:
    """Return that all is well."""
    return Finding(State.GREEN, summary, details)


def yellow(summary: str, *details: str | Text, mend: str = "") -> Finding:
    """Return that it could not be told, or is worth a look."""
    return Finding(State.YELLOW, summary, details, mend)


def red(summary: str, *details: str | Text, mend: str) -> Finding:
    """Return a fault and its mend."""
    return Finding(State.RED, summary, details, mend)
