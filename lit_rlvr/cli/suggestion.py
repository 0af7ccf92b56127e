"""The nearest existing name, for error messages."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

MAX_LISTED = 24
"""When nothing is near, up to this many names are listed."""
NEAR = 0.6
"""Least similarity of a suggestion (difflib's ratio)."""
MARGIN = 0.12
"""How much less similar than the best a further suggestion may be."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean ...?`, or the known names when none is near, or nothing when there are too many.

    Names of classes are compared by their last part and without regard to case, so that `GPRO` finds `pkg.grpo.GRPO`.
    Letters in another order are the likeliest slip.
    """
    by_short_name = {full.rsplit(".", 1)[-1].lower(): full for full in sorted(set(known), reverse=True)}
    wanted = name.rsplit(".", 1)[-1].lower()
    anagrams = [short for short in by_short_name if sorted(short) == sorted(wanted)]
    if anagrams:
        return f" Did you mean {' or '.join(by_short_name[short] for short in anagrams)}?"
    best = max((SequenceMatcher(None, short, wanted).ratio() for short in by_short_name), default=0.0)
    near = get_close_matches(wanted, by_short_name, n=3, cutoff=max(NEAR, best - MARGIN))
    if near:
        return f" Did you mean {' or '.join(by_short_name[short] for short in near)}?"
    if 0 < len(by_short_name) <= MAX_LISTED:
        return f" Known: {', '.join(sorted(by_short_name.values()))}."
    return ""
