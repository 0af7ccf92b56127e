"""How a program's process tells how it ended: one letter and a text, on a descriptor of its own.

The reader trusts none of it. A program that forges a report can only claim what it could have returned as well.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable

REPORT = 3
"""The descriptor."""
PROGRAM_FILE = "main.py"
"""What tracebacks call the program."""
RESULT, ERROR, MEMORY, TOO_LONG, PASSED = b"R", b"E", b"M", b"L", b"P"
"""A value follows; an error's last line follows; out of memory; the value is too long; the test's word follows."""
_MAX_ERROR_CHARACTERS = 500


def write(kind: bytes, text: bytes = b"") -> None:
    """Replace the report."""
    with contextlib.suppress(OSError):  # the program closed it: then there is no report
        os.ftruncate(REPORT, 0)
        os.pwrite(REPORT, kind + text, 0)


def write_error(error: BaseException) -> None:
    """Report the exception that ended the program."""
    if isinstance(error, MemoryError):
        write(MEMORY)
        return
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:
        text = "an exception whose own text raises"
    write(ERROR, text[:_MAX_ERROR_CHARACTERS].encode("utf-8", "backslashreplace"))


def guarded(action: Callable[[], object]) -> int:
    """Run the program and return its exit code, as the interpreter would; an exception is reported and printed."""
    try:
        action()
    except SystemExit as stop:
        return exit_code(stop)
    except BaseException as error:
        write_error(error)
        _print(error)
        return 1
    return 0


def exit_code(stop: SystemExit) -> int:
    """Return the exit code of `sys.exit(...)`, after printing what is no number."""
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    write_error(stop)
    with contextlib.suppress(Exception):
        sys.stderr.write(f"{stop.code}\n")
    return 1


def _print(error: BaseException) -> None:
    """Print the traceback from the program's first line on, by the program's own hook if it has one."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename != PROGRAM_FILE:
        trace = trace.tb_next
    with contextlib.suppress(BaseException):
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exception(type(error), error, trace, file=sys.stderr)
        else:
            sys.excepthook(type(error), error, trace)
