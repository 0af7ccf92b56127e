"""Tests as Python: HumanEval, MBPP, KodCode, and the `functional` and `pytest` entries of Klear's and LeetCode's rows."""

import threading
from typing import Any

from lit_rlvr.rewards.code.cases import CodeTest
from lit_rlvr.rewards.code.excerpt import excerpt
from lit_rlvr.rewards.code.row import ProblemRow, RowFormat
from lit_rlvr.rewards.code.scripts import split_script

_MEND = "correct the tests, or leave the prompt out"
_PARSING = threading.Lock()
"""CPython 3.11 and 3.12 count the depth of a tree that is parsed once for all threads (python/cpython#106905)."""


class AssertScripts(RowFormat):
    """One of `functional`, `pytest`, `test` (with `entry_point` for a `check(candidate)`) or `test_list`, or a script in place of JSON.

    `functional` may be a list of scripts; `test_list` is a list of single assertions, run after `test_setup_code` and `test_imports`.
    A `prefix` is not needed: the usual imports are there. See `split_script` for what becomes of a script.
    """

    SCRIPTS = ("functional", "pytest", "test")

    def recognizes(self, row: ProblemRow) -> bool:
        """Return whether there is one of the fields."""
        return any(row.fields.get(name) for name in (*self.SCRIPTS, "test_list"))

    def read(self, row: ProblemRow) -> list[CodeTest]:
        """Return the tests of all scripts in their order."""
        if row.fields.get("test_list"):
            return self._listed(row)
        field = next((name for name in self.SCRIPTS if row.fields.get(name)), "answer")
        scripts = row.fields.get(field, row.text)
        tests: list[CodeTest] = []
        for index, script in enumerate(scripts if isinstance(scripts, list) else [scripts]):
            place = f"{field}.{index}" if isinstance(scripts, list) else field
            tests += self._tests(row, place, script, str(row.fields.get("entry_point") or ""))
        return tests

    def _listed(self, row: ProblemRow) -> list[CodeTest]:
        asserts = row.json("test_list")
        imports = row.json("test_imports") if row.fields.get("test_imports") else []
        setup = "\n".join([*map(str, imports), str(row.fields.get("test_setup_code") or "")])
        if not isinstance(asserts, list):
            raise row.error("test_list", f"must be a list, found {excerpt(repr(asserts))}", _MEND)
        tests: list[CodeTest] = []
        for index, line in enumerate(asserts):
            tests += self._tests(row, f"test_list.{index}", f"{setup}\n{line}" if isinstance(line, str) else line, "")
        return tests

    @staticmethod
    def _tests(row: ProblemRow, place: str, script: Any, candidate: str) -> list[CodeTest]:
        if not isinstance(script, str):
            raise row.error(place, f"must be Python, found {type(script).__name__} {excerpt(repr(script))}", _MEND)
        try:
            with _PARSING:
                return split_script(script, candidate)
        except ValueError as error:
            raise row.error(place, f"{error}: {excerpt(script)}", _MEND) from error
