"""Texts with a known outcome, by which a reward function can be tried before a run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SelfTest:
    """Completions of one prompt whose outcome the reward function itself knows; None where it cannot tell."""

    right: str | None = None
    """Must get the full score, or at least more than `wrong`."""
    wrong: str | None = None
    """Must be judged, and not as right."""
    hanging: str | None = None
    """Is written to keep a careless verifier busy for ever: must be judged, whatever the outcome."""
    limit_s: float = 10.0
    """Seconds within which each of the three must be judged, the start of whatever judges them included."""
    has_answer: bool | None = None
    """Whether the prompt has what completions are judged by; None where nothing is needed."""
