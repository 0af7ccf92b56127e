"""Untrusted text for a log: short, on one line, control characters escaped."""

MAX_CHARACTERS = 80
"""Characters (or bytes) that are shown."""


def excerpt(text: str | bytes, limit: int = MAX_CHARACTERS) -> str:
    r"""Return the beginning of a text in quotes, with its length when it was cut.

    >>> excerpt("3 4\n\x1b[2J") == r"'3 4\n\x1b[2J'", excerpt(b"7" * 5000, limit=3)
    (True, "'777'... (5000 bytes)")
    """
    cut = text[:limit]
    shown = cut.decode("utf-8", "backslashreplace") if isinstance(cut, bytes) else cut
    unit = "bytes" if isinstance(text, bytes) else "characters"
    return repr(shown) + (f"... ({len(text)} {unit})" if len(text) > limit else "")
