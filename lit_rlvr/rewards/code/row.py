"""Where a problem's tests stand, and what a format of tests is."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit_rlvr.rewards.code.cases import CodeTest
from lit_rlvr.rewards.code.excerpt import excerpt
from lit_rlvr.types import Prompt

NESTED = ("input_output", "tests")
"""Columns whose JSON objects are looked into: APPS and TACO keep all of their tests in the first."""


@dataclass(frozen=True)
class ProblemRow:
    """What a prompt says about its tests."""

    prompt_id: str
    """Names the prompt in errors."""
    fields: Mapping[str, Any]
    """The prompt's metadata, overlaid by the entries of the JSON object in the field that holds the tests."""
    text: str = ""
    """That field's text when it is no JSON: a script of assertions, perhaps."""

    def error(self, field: str, problem: str, mend: str) -> ValueError:
        """Return an error that names the prompt, the field, what is wrong and what to do."""
        return ValueError(f"prompt {self.prompt_id!r}: field {field!r}: {problem}; {mend}")

    def json(self, field: str) -> Any:
        """Return a field's value, parsed when it is a string.

        Raises:
            ValueError: it is a string but not JSON.
        """
        value = self.fields[field]
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise self.error(field, f"{excerpt(value)} is not JSON ({error})", "write the tests as JSON") from error


class RowFormat(ABC):
    """One way in which data sets write the tests of a problem."""

    @abstractmethod
    def recognizes(self, row: ProblemRow) -> bool:
        """Return whether the row has this format's fields."""

    @abstractmethod
    def read(self, row: ProblemRow) -> list[CodeTest]:
        """Return the tests of a row that it recognizes.

        Raises:
            ValueError: the tests are malformed or none; with the prompt's id, the field and the mend (`row.error`).
        """


def problem_row(prompt: Prompt, field: str) -> ProblemRow:
    """Return what a prompt says about its tests.

    Args:
        prompt: the prompt.
        field: `answer`, or the metadata column that holds the tests.

    Raises:
        ValueError: there is no such column.
    """
    if field != "answer" and field not in prompt.metadata:
        raise ValueError(
            f"prompt {prompt.id!r}: no column {field!r} with the tests (the reward's `field`); its metadata is "
            f"{sorted(prompt.metadata) or 'empty'}: list the column in `fields.metadata` of the source"
        )
    value: Any = prompt.answer if field == "answer" else prompt.metadata[field]
    fields, text = {**prompt.metadata}, ""
    for name, content in ((field, value), *((name, prompt.metadata[name]) for name in NESTED if name in prompt.metadata)):
        parsed = _parsed(content)
        if isinstance(parsed, dict):
            fields.pop(name, None)
            fields |= parsed
        elif isinstance(parsed, list):
            fields["tests" if name == "answer" else name] = parsed
        elif name == field and isinstance(content, str):
            text = content
    return ProblemRow(prompt.id, fields, text)


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
