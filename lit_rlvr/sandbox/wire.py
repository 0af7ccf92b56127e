"""What a remote sandbox and its server say to each other: JSON objects, with bytes in base64. Nothing is ever unpickled."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar, get_args

from lit_rlvr.sandbox.base import Job, Limits, Outcome

RUN_PATH = "/run"
HEALTH_PATH = "/health"
HEARTBEAT_S = 2.0
"""Seconds between the blanks that a server sends while it works: a server that sends nothing is dead."""

Record = TypeVar("Record", Job, Limits, Outcome)


def encode_job(job: Job) -> bytes:
    """Return a job as part of a request, so that its size is known before requests are made up."""
    return _dump(_to_json(job))


def encode_request(encoded_jobs: Sequence[bytes], limits: Limits) -> bytes:
    """Return the body that asks for jobs."""
    return b'{"limits": %b, "jobs": [%b]}' % (_dump(_to_json(limits)), b", ".join(encoded_jobs))


def decode_request(body: bytes) -> tuple[list[Job], Limits]:
    """Return the jobs and the limits of a request.

    Raises:
        ValueError: the body is no such request; says what is wrong with it.
    """
    message = _load(body, {"limits", "jobs"})
    return _records(Job, message["jobs"], "jobs"), _from_json(Limits, message["limits"], "limits")


def encode_response(outcomes: Sequence[Outcome]) -> bytes:
    """Return the body that answers a request."""
    return _dump({"outcomes": [_to_json(outcome) for outcome in outcomes]})


def decode_response(body: bytes, num_jobs: int) -> list[Outcome]:
    """Return the outcomes of an answer, one for each of `num_jobs` jobs.

    Raises:
        ValueError: the body is no such answer.
    """
    outcomes = _records(Outcome, _load(body, {"outcomes"})["outcomes"], "outcomes")
    if len(outcomes) != num_jobs:
        raise ValueError(f"{len(outcomes)} outcomes for {num_jobs} jobs")
    return outcomes


def _dump(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode("ascii")  # lone surrogates of a broken program travel as escapes


def _load(body: bytes, keys: set[str]) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    if not isinstance(message, dict) or set(message) != keys:
        raise ValueError(f"expected a JSON object with {' and '.join(sorted(keys))}")
    return message


def _records(kind: type[Record], items: object, place: str) -> list[Record]:
    if not isinstance(items, list):
        raise ValueError(f"{place} must be a list")
    return [_from_json(kind, item, f"{place}[{i}]") for i, item in enumerate(items)]


def _to_json(record: Job | Limits | Outcome) -> dict[str, Any]:
    values = asdict(record)
    return {name: base64.b64encode(v).decode("ascii") if isinstance(v, bytes) else v for name, v in values.items()}


def _from_json(kind: type[Record], values: object, place: str) -> Record:
    if not isinstance(values, dict):
        raise ValueError(f"{place} must be a JSON object")
    types = {field.name: field.type for field in fields(kind)}
    if unknown := sorted(set(values) - set(types)):
        raise ValueError(f"{place} has an unknown field {unknown[0][:40]!r}; are both sides of the same version?")
    try:
        return kind(**{name: _read(types[name], value) for name, value in values.items()})
    except (OverflowError, TypeError) as error:
        raise ValueError(f"{place}: {error}") from None


def _read(kind: Any, value: object) -> Any:
    """Return a field's value of the type it is annotated with; TypeError when it is another."""
    if kind is bytes and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise TypeError("invalid base64") from None
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is kind or value in get_args(kind):
        return value
    raise TypeError(f"expected {getattr(kind, '__name__', kind)}, got {type(value).__name__}")
