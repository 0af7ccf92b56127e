"""Running one job in a zygote: its files, its requests, and the outcome read from what they left."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from typing import Any

from lit_rlvr.sandbox.base import Job, Limits, Outcome
from lit_rlvr.sandbox.ending import Ending, assert_outcome, outcome
from lit_rlvr.sandbox.memory_file import contents, memory_file, size
from lit_rlvr.sandbox.worker import Request, Worker

_MIN_FILE_BYTES = 4096


def why_rejected(job: Job, limits: Limits) -> str:
    """Return why a job's code is no program that could be run; an empty string if it is one."""
    try:
        size_of_code = len(job.code.encode())
    except UnicodeEncodeError:
        return "the code is not UTF-8: it contains a lone surrogate"
    if "\0" in job.code:
        return "the code contains a NUL character"
    if size_of_code > limits.code_bytes:
        return f"the code has {size_of_code} bytes, more than {limits.code_bytes}"
    return ""


def check_arguments(job: Job) -> None:
    """Check the part of a job that is not the program's.

    Raises:
        ValueError: `arguments` is not a JSON list.
    """
    if job.arguments and not job.asserts:
        try:
            is_list = isinstance(json.loads(job.arguments), list)
        except ValueError:
            is_list = False
        if not is_list:
            raise ValueError(f"Job.arguments must be a JSON list such as '[1, \"a\"]', got {job.arguments[:80]!r}")


def run_job(worker: Worker, job: Job, limits: Limits) -> Outcome:
    """Run one job in a worker.

    Raises:
        WorkerDied: the job could not be run.
    """
    if job.asserts:
        return _run_asserts(worker, job, limits)
    payload = {"code": job.code, "prelude": job.prelude, "function": job.function, "arguments": job.arguments}
    with _Process(payload, job.stdin, limits) as process:
        worker.send([process.request("call" if job.function else "program", limits)])
        (ending,) = worker.receive(limits.wall_s)
        return outcome(process.ending(ending, limits), limits, bool(job.function))


def _run_asserts(worker: Worker, job: Job, limits: Limits) -> Outcome:
    word = secrets.token_hex(16)
    solution = {"code": job.code, "prelude": job.prelude}
    test = {"code": job.asserts, "prelude": "", "function": job.function, "word": word}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_Process(solution, job.stdin, limits))
        theirs = stack.enter_context(_Process(test, b"", limits))
        with _pipes() as (requests_out, requests_in, replies_out, replies_in):
            solution_request = ours.request("solution", limits, requests_out, replies_in)
            worker.send([solution_request, theirs.request("test", limits, replies_out, requests_in)])
        # Closed here before waiting: when one process ends, the other one must notice.
        endings = worker.receive(limits.wall_s)
        return assert_outcome(ours.ending(endings[0], limits), theirs.ending(endings[1], limits), word, limits)


@contextlib.contextmanager
def _pipes() -> Iterator[tuple[int, ...]]:
    """Make two pipes, each its reading end first, and close them after use."""
    ends = (*os.pipe(), *os.pipe())
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


class _Process:
    """The files of one process: standard streams, report, payload."""

    def __init__(self, payload: dict[str, Any], stdin: bytes, limits: Limits) -> None:
        text = json.dumps(payload | {"result_bytes": limits.output_bytes})
        self._stdin, self._payload = memory_file(stdin), memory_file(text.encode())
        self._stdout, self._stderr, self._report = memory_file(), memory_file(), memory_file()

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._stdin, self._stdout, self._stderr, self._report, self._payload):
            os.close(descriptor)

    def request(self, role: str, limits: Limits, *pipes: int) -> Request:
        """Return what to ask of the zygote."""
        return Request(
            role=role,
            cpu_s=limits.cpu_s,
            wall_s=limits.wall_s,
            memory_bytes=limits.memory_mb * 1024**2,
            file_bytes=max(limits.output_bytes, limits.stderr_bytes, _MIN_FILE_BYTES) + 1,
            descriptors=(self._stdin, self._stdout, self._stderr, self._report, self._payload, *pipes),
        )

    def ending(self, how: dict[str, Any], limits: Limits) -> Ending:
        """Return all that is left of the process."""
        return Ending(
            **how,
            stdout=contents(self._stdout, limits.output_bytes),
            stderr=contents(self._stderr, limits.stderr_bytes, from_end=True),
            printed_bytes=max(size(self._stdout), size(self._stderr)),
            report=contents(self._report, max(limits.output_bytes, _MIN_FILE_BYTES) + 1),
        )
