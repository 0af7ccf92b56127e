"""The solution's side of an assert job: its functions answer calls that come over a pipe. It never sees the test."""

import contextlib
import json
import os
from types import ModuleType
from typing import Any

from lit_rlvr.sandbox.inside import report
from lit_rlvr.sandbox.inside.call import SOLUTION_MODULE, find_function
from lit_rlvr.sandbox.inside.program import execute, finish, new_module
from lit_rlvr.sandbox.inside.values import decode, encode

REQUESTS, REPLIES = 5, 6
"""Descriptors of the two pipes."""


def serve_solution(payload: dict[str, Any]) -> int:
    """Run `code`, answer requests until the test ends, and return the exit code."""
    module = new_module(SOLUTION_MODULE)
    code = report.guarded(lambda: execute(payload, module))
    if code == 0:
        with contextlib.suppress(OSError):  # the test has ended
            _Server(module, payload["result_bytes"]).serve()
    return finish(code)


class _Server:
    """Answers requests, one line of JSON each: `get` a name (of the module or of an object), `call` an object."""

    def __init__(self, module: ModuleType, max_bytes: int) -> None:
        self._module = module
        self._max_bytes = max_bytes
        self._objects: list[Any] = []

    def serve(self) -> None:
        with os.fdopen(REQUESTS, "rb") as requests:
            for line in requests:
                reply = json.dumps(self._answer(line)).encode() + b"\n"
                if len(reply) > self._max_bytes:
                    reply = b'{"error": ["ValueError", "the returned value is too long"]}\n'
                while reply:
                    reply = reply[os.write(REPLIES, reply) :]

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if request["do"] == "get":
                value = self._get(request["of"], request["name"])
            else:
                arguments = decode(request["arguments"], self._objects.__getitem__)
                keywords = decode(request["keywords"], self._objects.__getitem__)
                value = self._objects[request["of"]](*arguments, **keywords)
            return {"value": encode(value, self._refer)}
        except MemoryError:
            report.write(report.MEMORY)
            return {"error": ["MemoryError", ""]}
        except BaseException as error:
            return {"error": [type(error).__name__, _text(error)]}

    def _get(self, owner: int | None, name: str) -> Any:
        if owner is not None:
            return getattr(self._objects[owner], name)
        return vars(self._module)[name] if name in vars(self._module) else find_function(self._module, name)

    def _refer(self, value: Any) -> int:
        self._objects.append(value)
        return len(self._objects) - 1


def _text(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except BaseException:
        return ""
