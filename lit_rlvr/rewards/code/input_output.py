"""Tests as pairs of inputs and outputs: two parallel lists (APPS, TACO, Klear, verl) or a list of objects (rllm, PrimeIntellect)."""

import json
from typing import Any

from lit_rlvr.rewards.code.cases import CallTest, CodeTest, StdioTest
from lit_rlvr.rewards.code.excerpt import excerpt
from lit_rlvr.rewards.code.row import ProblemRow, RowFormat

KINDS = {"stdin": False, "stdin_stdout": False, "functional": True, "function_call": True}
"""Names of the kinds of tests in lists of objects, and whether a function is called."""


class InputsOutputs(RowFormat):
    """Fields `inputs` and `outputs`, two lists of equal length, and `fn_name` when a function is called.

    Without `fn_name` an input is the text of standard input (a list of strings is its lines), an output the text to be printed.
    With it, an input is the list of arguments and an output the value, or both are JSON: one argument a line, and the value.
    Where every output is a list of one element, as APPS writes them, that element is right as well as the list. `timeout` and
    `max_test_cases` of Klear's rows are not used: the reward's `limits` and `max_tests` are.
    """

    def recognizes(self, row: ProblemRow) -> bool:
        """Return whether there is any of the fields."""
        return any(name in row.fields for name in ("inputs", "outputs", "inputs_file", "outputs_file"))

    def read(self, row: ProblemRow) -> list[CodeTest]:
        """Return a test for each input."""
        for name in ("inputs_file", "outputs_file"):
            if name in row.fields:
                raise row.error(name, "the tests are in a file of their own, which is not read", "put them into the row")
        inputs, outputs = (_list(row, name) for name in ("inputs", "outputs"))
        if len(inputs) != len(outputs):
            raise row.error("outputs", f"{len(outputs)} outputs for {len(inputs)} inputs", "give one output for each input")
        if not inputs:
            raise row.error("inputs", "there are no tests", "leave the prompt out")
        function = row.fields.get("fn_name") or ""
        are_wrapped = all(isinstance(output, list) and len(output) == 1 for output in outputs)
        return [
            call_test(row, f"inputs.{index}", function, given, wanted, are_wrapped)
            if function
            else stdio_test(row, f"inputs.{index}", given, wanted)
            for index, (given, wanted) in enumerate(zip(inputs, outputs, strict=True))
        ]


class ListedTests(RowFormat):
    """Field `tests`, a list of objects with `input` and `output`.

    `type` or `testtype` says what a test is: `stdin` and `stdin_stdout` (also when it is missing), or `functional` and `function_call`,
    which need the function's name in `fn_name` or in `metadata.func_name`.
    """

    def recognizes(self, row: ProblemRow) -> bool:
        """Return whether there is such a list."""
        return isinstance(row.fields.get("tests"), list)

    def read(self, row: ProblemRow) -> list[CodeTest]:
        """Return the tests in their order."""
        return listed_tests(row, "tests", _list(row, "tests"), function="")


def listed_tests(row: ProblemRow, field: str, items: list[Any], function: str) -> list[CodeTest]:
    """Return the tests of a list of objects with `input` and `output`.

    Args:
        row: for errors.
        field: the field that holds the list.
        items: the list.
        function: the function that is called, where an object does not name it.

    Raises:
        ValueError: the list is empty, or an object has no input or output, is of an unknown kind or names no function.
    """
    if not items:
        raise row.error(field, "there are no tests", "leave the prompt out")
    tests: list[CodeTest] = []
    for index, item in enumerate(items):
        place = f"{field}.{index}"
        if not isinstance(item, dict) or not {"input", "output"} <= item.keys():
            raise row.error(place, f"{excerpt(repr(item))} has no `input` and `output`", "write {'input': ..., 'output': ...}")
        kind = item.get("testtype") or item.get("type") or "stdin"
        if kind not in KINDS:
            raise row.error(place, f"unknown kind of test {kind!r}", f"use one of {sorted(KINDS)}")
        if not KINDS[kind]:
            tests.append(stdio_test(row, place, item["input"], item["output"]))
            continue
        metadata = item.get("metadata")
        named = item.get("fn_name") or (metadata.get("func_name") if isinstance(metadata, dict) else "") or function
        if not named:
            raise row.error(place, "no name of the function to call", "give it in `fn_name` or in `metadata.func_name`")
        tests.append(call_test(row, place, named, item["input"], item["output"], False))
    return tests


def stdio_test(row: ProblemRow, place: str, given: Any, wanted: Any) -> StdioTest:
    """Return a test of standard input and output; lists of strings are lines."""
    texts = ["\n".join(part) if _is_lines(part) else part for part in (given, wanted)]
    for text in texts:
        if not isinstance(text, str):
            problem = f"input and output must be text, found {type(text).__name__} {excerpt(repr(text))}"
            raise row.error(place, problem, "write text, or name the function to call in `fn_name`")
    return StdioTest(*texts)


def call_test(row: ProblemRow, place: str, function: Any, given: Any, wanted: Any, is_wrapped: bool) -> CallTest:
    """Return a test of a function: arguments and value as they are or, when the input is a string, both in JSON."""
    try:
        arguments, expected = given, wanted
        if isinstance(given, str):
            arguments = [json.loads(line) for line in given.splitlines() if line.strip()]
            expected = json.loads(wanted) if isinstance(wanted, str) else wanted
        alternative = json.dumps(expected[0]) if is_wrapped else ""
        return CallTest(str(function), json.dumps(arguments), json.dumps(expected), alternative)
    except (ValueError, TypeError, RecursionError) as error:
        raise row.error(place, str(error), "write arguments (one a line) and value as JSON") from error


def _is_lines(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(line, str) for line in value)


def _list(row: ProblemRow, name: str) -> list[Any]:
    value = row.json(name) if name in row.fields else None
    if not isinstance(value, list):
        found = "missing" if name not in row.fields else f"{type(value).__name__} {excerpt(repr(value))}"
        raise row.error(name, f"must be a list, found {found}", "give one entry for each test")
    return value
