"""From how a process ended to the outcome of its job. Everything a program wrote is data here, and bounded."""

import json
import os
import signal
from typing import Literal, NamedTuple

from lit_rlvr.sandbox.base import Limits, Outcome, Status

_MAX_DETAIL_CHARACTERS = 500


class Ending(NamedTuple):
    """All that is left of one process."""

    status: int
    """As `waitpid` gives it."""
    killed: Literal["", "cpu", "wall", "ended", "infra"]
    """Why the zygote killed it; `ended` when the test it served had ended."""
    cpu_s: float
    wall_s: float
    stdout: bytes
    stderr: bytes
    printed_bytes: int
    """The larger size of the two."""
    report: bytes
    """What it told of itself: a letter and a text. Not to be trusted."""


def outcome(ending: Ending, limits: Limits, wants_result: bool) -> Outcome:
    """Return the outcome of a program, or of a function call when `wants_result`."""
    status, detail = _verdict(ending, limits)
    result = ""
    if status == "ok" and wants_result:
        result = _result(ending.report)
        if not result:
            status, detail = "runtime_error", "the program ended before its function returned a value"
    return Outcome(status, ending.stdout, ending.stderr, result, False, ending.cpu_s, ending.wall_s, detail)


def assert_outcome(solution: Ending, test: Ending, word: str, limits: Limits) -> Outcome:
    """Return the outcome of an assert job from its two processes."""
    status, detail = _verdict(solution, limits)
    has_word = test.report == b"P" + word.encode() and os.waitstatus_to_exitcode(test.status) == 0
    passed = status == "ok" and has_word
    if status == "ok" and not passed:
        status, detail = _verdict(test, limits)
        status, detail = ("runtime_error", "the test did not end") if status == "ok" else (status, f"test: {detail}")
    stderr = solution.stderr if passed else (solution.stderr + test.stderr)[-limits.stderr_bytes :]
    return Outcome(status, solution.stdout, stderr, "", passed, solution.cpu_s, test.wall_s, detail)


def escaped(text: str) -> str:
    """Return text in one line, its control characters spelled out, cut to what a log can bear."""
    text = text[:_MAX_DETAIL_CHARACTERS]
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in text)


def _verdict(ending: Ending, limits: Limits) -> tuple[Status, str]:
    code = os.waitstatus_to_exitcode(ending.status)
    kind, text = ending.report[:1], escaped(ending.report[1 : 4 * _MAX_DETAIL_CHARACTERS].decode("utf-8", "replace"))
    if ending.printed_bytes > limits.output_bytes or kind == b"L" or code == -signal.SIGXFSZ:
        return "output_limit", f"more than {limits.output_bytes} bytes of output"
    if ending.killed == "wall":
        return "timeout", f"still running after {limits.wall_s:g} s on the clock, {ending.cpu_s:.2f} s of them computing"
    if ending.killed == "cpu" or ending.cpu_s > limits.cpu_s or code == -signal.SIGXCPU:
        return "timeout", f"{ending.cpu_s:.2f} CPU seconds used of {limits.cpu_s:g}"
    if ending.killed == "ended":
        return "ok", ""
    if kind == b"M":
        return "memory", f"more than {limits.memory_mb} MiB of memory"
    if code == 0:
        return "ok", ""
    if code < 0:
        return "runtime_error", f"killed by {_signal_name(-code)}"
    return "runtime_error", f"exit code {code}: {text}" if kind == b"E" else f"exit code {code}"


def _result(report: bytes) -> str:
    """Return the JSON text in a report, or nothing if there is none or it is not JSON."""
    if report[:1] != b"R":
        return ""
    try:
        text = report[1:].decode()
        json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
