"""Finding a value in a row, with errors that say where it should have been."""

import difflib
from collections.abc import Mapping
from typing import Any

from lit_rlvr.data.rows import Row


def column(row: Row, path: str, setting: str) -> Any:
    """Return the value under a dotted path.

    Args:
        row: where to look.
        path: a column, or names and list indices joined by dots. A column whose own name holds the dots wins.
        setting: the configuration key that names the column, for the error.

    Raises:
        ValueError: when it is not there, with the names that are and the nearest of them.

    >>> column(Row({"final": ["7"]}, "a.jsonl:1"), "final.0", "fields.answer")
    '7'
    """
    if path in row.values:
        return row.values[path]
    value: Any = row.values
    parts = path.split(".")
    for depth, part in enumerate(parts):
        inside = _children(value)
        if part not in inside:
            message = _missing(path, ".".join(parts[:depth]), part, list(inside))
            raise ValueError(f"{row.place}: {message}; `{setting}` names it")
        value = inside[part]
    return value


def scalar(row: Row, path: str, setting: str) -> str:
    """Return a string or a number under a dotted path, as a string that is not blank.

    Raises:
        ValueError: when it is missing, blank or of another type.
    """
    value = column(row, path, setting)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a table's number column turns 27 into 27.0
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        found = f"{type(value).__name__} {str(value)[:60]!r}"
        raise ValueError(f"{row.place}: column {path!r} must be a string or a number, found {found}")
    if not str(value).strip():
        raise ValueError(f"{row.place}: column {path!r} is empty")
    return str(value)


def _children(value: Any) -> Mapping[str, Any]:
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    return value if isinstance(value, Mapping) else {}


def _missing(path: str, parent: str, part: str, names: list[str]) -> str:
    nearest = difflib.get_close_matches(part, names, n=1, cutoff=0.5)
    hint = f" (did you mean {f'{parent}.{nearest[0]}'.lstrip('.')!r}?)" if nearest else ""
    where = f"{parent!r} holds" if parent else "the columns are"
    return f"no column {path!r}{hint}; {where}: {', '.join(names) or 'nothing'}"
