"""The nearest existing name, for error messages."""

from collections.abc import Iterable
from difflib import get_close_matches

MAX_LISTED = 12
"""When nothing is near, up to this many names are listed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean ...?`, or the known names when none is near, or nothing when there are too many.

    Names of classes are compared by their last part and without regard to case, so that `GPRO` finds `pkg.grpo.GRPO`.
    """
    by_short_name = {full.rsplit(".", 1)[-1].lower(): full for full in sorted(set(known), reverse=True)}
    near = get_close_matches(name.rsplit(".", 1)[-1].lower(), by_short_name, n=3, cutoff=0.6)
    if near:
        return f" Did you mean {' or '.join(by_short_name[short] for short in near)}?"
    if 0 < len(by_short_name) <= MAX_LISTED:
        return f" Known: {', '.join(sorted(by_short_name.values()))}."
    return ""
