"""Calling one function of a program with JSON arguments; what it returns leaves as JSON."""

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from lit_rlvr.sandbox.inside import report
from lit_rlvr.sandbox.inside.program import execute, finish, new_module

SOLUTION_MODULE = "solution"
"""Not `__main__`: what stands below `if __name__ == "__main__":` is no part of the call."""
_DEFAULT_CLASS = "Solution"


def call_function(payload: dict[str, Any]) -> int:
    """Run `code`, call `function` with `arguments`, report what it returns, and return the exit code."""
    module = new_module(SOLUTION_MODULE)

    def run() -> None:
        execute(payload, module)
        arguments = json.loads(payload["arguments"] or "[]")
        value = find_function(module, payload["function"])(*arguments)
        sys.set_int_max_str_digits(0)
        text = json.dumps(value, default=_plain).encode()
        if len(text) > payload["result_bytes"]:
            report.write(report.TOO_LONG)
        else:
            report.write(report.RESULT, text)

    return finish(report.guarded(run))


def find_function(module: ModuleType, name: str) -> Callable[..., Any]:
    """Return a function of a program by name: `function`, or `Class.method` of an instance made without arguments.

    A name that the module lacks may also be a method of its class `Solution`.

    Raises:
        NameError: the program defines no such function.
    """
    scope = vars(module)
    class_name, _, method = name.rpartition(".")
    if not class_name and name not in scope and hasattr(scope.get(_DEFAULT_CLASS), name):
        class_name = _DEFAULT_CLASS
    if (class_name or method) not in scope:
        raise NameError(f"the program defines no {class_name or method!r}")
    return getattr(scope[class_name](), method) if class_name else scope[method]


def _plain(value: Any) -> Any:
    """Return what JSON can hold instead of an array or a number of a numerical library."""
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    raise TypeError(f"the function returned {type(value).__name__}, which JSON cannot hold")
