"""A value that a constructor refuses is a mistake of the call, not a crash: one message, exit code 2."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lit_rlvr.cli.verbs import USAGE_ERROR

DEBUG_VARIABLE = "LIT_RLVR_DEBUG"
"""Set to anything, it shows the traceback instead."""


@contextmanager
def mistakes_explained() -> Iterator[None]:
    """Turn errors about values and missing files, raised inside, into a message and `SystemExit(2)`."""
    try:
        yield
    except (ValueError, FileNotFoundError, FileExistsError, MisconfigurationException) as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        cause = _first_cause(error)
        origin = _origin(cause)
        print(f"error: {cause}", file=sys.stderr)
        print(f"  raised in {origin.name}, {origin.filename}:{origin.lineno} ({DEBUG_VARIABLE}=1 shows how)", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None


def _first_cause(error: BaseException) -> BaseException:
    """Return the constructor's own error, where jsonargparse wrapped it into one about the alternatives of a union."""
    while error.__cause__ is not None and f"{os.sep}jsonargparse{os.sep}" in _origin(error).filename:
        error = error.__cause__
    return error


def _origin(error: BaseException) -> traceback.FrameSummary:
    return traceback.extract_tb(error.__traceback__)[-1]
