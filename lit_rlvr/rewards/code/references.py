"""Reference solutions of a problem."""

import json
from typing import Any

from lit_rlvr.rewards.code.excerpt import excerpt
from lit_rlvr.types import Prompt


def reference_program(prompt: Prompt, field: str) -> str:
    """Return the reference solution in `answer` or a metadata column: a program, or a list of programs (also as JSON).

    Of a list the first is taken.

    Raises:
        ValueError: the column is missing, or holds no program.
    """
    if field != "answer" and field not in prompt.metadata:
        raise ValueError(
            f"prompt {prompt.id!r}: no column {field!r} with the reference solution; its metadata is "
            f"{sorted(prompt.metadata) or 'empty'}: list the column in `fields.metadata` of the source"
        )
    value: Any = prompt.answer if field == "answer" else prompt.metadata[field]
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return value  # a program that begins with a list
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"prompt {prompt.id!r}: field {field!r}: {excerpt(repr(value))} is no program; correct it or leave the prompt out"
        )
    return value
