"""The test's side of an assert job: the script runs here, and every call of the solution leaves over a pipe.

What comes back are plain values built from JSON, so no object of the solution's takes part in a comparison.
"""

import builtins
import json
import os
import symtable
import sys
from typing import Any

from lit_rlvr.sandbox.inside import report
from lit_rlvr.sandbox.inside.program import execute, finish, new_module
from lit_rlvr.sandbox.inside.values import decode, encode

REPLIES, REQUESTS = 5, 6
"""Descriptors of the two pipes."""
_NEVER_RAISED = ("StopIteration", "StopAsyncIteration", "GeneratorExit")
"""Exceptions that would end a loop of the script, such as `all(map(...))`, as if all had been well."""


class SolutionError(Exception):
    """The solution's process ended, or raised something that a test script must not take for its own."""


def run_test_script(payload: dict[str, Any]) -> int:
    """Run the script against the solution, report the word if it ends without an exception, and return the exit code."""
    pipe = _Pipe(payload["result_bytes"])
    module = new_module("__main__")

    def run() -> None:
        for name in sorted(_free_names(payload["code"]) | {payload["function"].partition(".")[0]} - {""}):
            found = pipe.get(name)
            if found is not None:
                vars(module)[name] = found[0]
        try:
            execute(payload, module)
        except SystemExit as stop:  # unittest.main() ends this way
            if stop.code:
                raise AssertionError(f"the test script exited with {stop.code}") from None
        report.write(report.PASSED, payload["word"].encode())

    sys.set_int_max_str_digits(0)
    return finish(report.guarded(run))


def _free_names(script: str) -> set[str]:
    """Return the globals that a script uses and neither binds anywhere nor finds among the builtins."""
    module = symtable.symtable(script, report.PROGRAM_FILE, "exec")
    used: set[str] = set()
    bound = set(vars(builtins)) | {"__name__", "__file__"}
    scopes = [module]
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        for symbol in scope.get_symbols():
            if scope is module or symbol.is_global():
                is_bound = symbol.is_assigned() or symbol.is_imported()
                (bound if is_bound else used).add(symbol.get_name())
    return used - bound


class _Pipe:
    """Requests to the solution, one at a time."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._replies = os.fdopen(REPLIES, "rb")

    def get(self, name: str) -> tuple[Any] | None:
        """Return the solution's global of this name in a tuple, or None if there is none."""
        try:
            return (self.request({"do": "get", "of": None, "name": name}),)
        except (NameError, SolutionError):
            return None

    def request(self, request: dict[str, Any]) -> Any:
        """Return the value that the solution answers with, or raise what it raised."""
        line = json.dumps(request).encode() + b"\n"
        try:
            while line:
                line = line[os.write(REQUESTS, line) :]
            reply = self._replies.readline(self._max_bytes + 1)
        except OSError:
            reply = b""
        if not reply.endswith(b"\n"):
            raise SolutionError("the solution's process ended")
        try:
            answer = json.loads(reply)
            if "error" not in answer:
                return decode(answer["value"], lambda number: _Remote(self, int(number)))
            name, text = (str(part) for part in answer["error"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise SolutionError(f"the solution answered with something malformed: {error}") from None
        raise _exception(name, text)


class _Remote:
    """A function or an object that lives in the solution's process. Equal to itself only."""

    def __init__(self, pipe: _Pipe, number: int) -> None:
        self._pipe = pipe
        self._number = number

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        request = {"do": "call", "of": self._number}
        request["arguments"] = encode(list(arguments), _number_of)
        request["keywords"] = encode(keywords, _number_of)
        return self._pipe.request(request)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._pipe.request({"do": "get", "of": self._number, "name": name})


def _number_of(value: Any) -> int:
    if isinstance(value, _Remote):
        return value._number
    raise SolutionError(f"a test cannot give {type(value).__name__} to the solution, only plain values and its own objects")


def _exception(name: str, text: str) -> Exception:
    """Return the exception that stands for one of the solution's."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and name not in _NEVER_RAISED:
        try:
            return kind(text)
        except TypeError:  # such as UnicodeDecodeError, which wants more than a text
            pass
    return SolutionError(f"{name}: {text}")
