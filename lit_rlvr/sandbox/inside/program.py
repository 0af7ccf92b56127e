"""Running source code as the interpreter runs a script."""

import atexit
import builtins
import contextlib
import linecache
import sys
import threading
from types import ModuleType
from typing import Any

from lit_rlvr.sandbox.inside.report import PROGRAM_FILE, guarded

_CANNOT_FLUSH = 120


def run_program(payload: dict[str, Any]) -> int:
    """Run `code` as the main module, wait for its threads, and return its exit code."""
    module = new_module("__main__")
    code = guarded(lambda: execute(payload, module))
    return finish(code)


def new_module(name: str) -> ModuleType:
    """Return an empty module that is the main one, whatever its name."""
    module = ModuleType(name)
    module.__file__ = PROGRAM_FILE
    vars(module)["__builtins__"] = builtins
    sys.modules["__main__"] = sys.modules[name] = module
    return module


def execute(payload: dict[str, Any], module: ModuleType) -> None:
    """Run `prelude` and `code` in a module."""
    if payload["prelude"]:
        exec(compile(payload["prelude"], "prelude.py", "exec", dont_inherit=True), vars(module))
    source = payload["code"]
    linecache.cache[PROGRAM_FILE] = (len(source), None, source.splitlines(keepends=True), PROGRAM_FILE)
    exec(compile(source, PROGRAM_FILE, "exec", dont_inherit=True), vars(module))


def finish(code: int) -> int:
    """End as the interpreter does: wait for threads, run exit handlers, flush; return the exit code."""
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except BaseException:
            code = code or (_CANNOT_FLUSH if stream is sys.stdout else 0)
    return code
