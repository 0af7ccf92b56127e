"""LiveCodeBench's rows."""

import json
from typing import Any

from lit_rlvr.rewards.code.cases import CodeTest
from lit_rlvr.rewards.code.excerpt import excerpt
from lit_rlvr.rewards.code.input_output import listed_tests
from lit_rlvr.rewards.code.packed import unpack_text
from lit_rlvr.rewards.code.row import ProblemRow, RowFormat


class LiveCodeBench(RowFormat):
    """Fields `public_test_cases` and `private_test_cases`: JSON lists of `input`, `output` and `testtype`; both are used, in this order.

    The private ones may be packed (base64 of zlib of a pickled string). Functional tests need `metadata`, whose `func_name` names the
    function.
    """

    def recognizes(self, row: ProblemRow) -> bool:
        """Return whether there is any of the two fields."""
        return "public_test_cases" in row.fields or "private_test_cases" in row.fields

    def read(self, row: ProblemRow) -> list[CodeTest]:
        """Return the public tests, then the private ones."""
        function = self._function(row)
        tests: list[CodeTest] = []
        for field in ("public_test_cases", "private_test_cases"):
            items = self._items(row, field) if row.fields.get(field) else []
            tests += listed_tests(row, field, items, function) if items else []
        if not tests:
            raise row.error("public_test_cases", "there are no tests, public or private", "leave the prompt out")
        return tests

    def _function(self, row: ProblemRow) -> str:
        metadata = row.json("metadata") if row.fields.get("metadata") else {}
        if not isinstance(metadata, dict):
            raise row.error("metadata", f"must be a JSON object, found {excerpt(repr(metadata))}", "leave the column as it was")
        return metadata.get("func_name") or ""

    def _items(self, row: ProblemRow, field: str) -> list[Any]:
        value = row.fields[field]
        if isinstance(value, str) and not value.lstrip().startswith("["):
            try:
                value = json.loads(unpack_text(value.strip()))
            except (ValueError, RecursionError) as error:
                raise row.error(field, str(error), "give the tests as JSON") from error
        elif isinstance(value, str):
            value = row.json(field)
        if not isinstance(value, list):
            raise row.error(field, f"must hold a list of tests, found {type(value).__name__}", "give the tests as JSON")
        return value
