"""Chat messages as rows hold them, checked and brought into one form."""

from collections.abc import Mapping
from typing import Any

Message = Mapping[str, str]

_OTHER_ROLE_NAMES = {"human": "user", "gpt": "assistant"}
_OTHER_KEYS = {"role": "from", "content": "value"}


def read_messages(value: Any, place: str, column: str) -> tuple[Message, ...]:
    """Return chat messages with the keys `role` and `content`.

    A string becomes one user turn. A list holds objects `{role, content}`, or `{from, value}` with the roles `human` and `gpt`
    (the ShareGPT form).

    Raises:
        ValueError: for any other type, an empty string or list, a message without a role or a content, or an empty user turn.
    """
    where = f"{place}: column {column!r}"
    if isinstance(value, str):
        return ({"role": "user", "content": _text(value, where)},)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{where} must be a string or a list of chat messages, found {_describe(value)}")
    return tuple(_read_message(message, f"{where}, message {number}") for number, message in enumerate(value, start=1))


def _read_message(value: Any, where: str) -> Message:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be an object with 'role' and 'content', found {_describe(value)}")
    message = {}
    for key, other in _OTHER_KEYS.items():
        content = value.get(key, value.get(other))
        if not isinstance(content, str):
            raise ValueError(f"{where} needs a string {key!r}, found the keys {', '.join(map(str, value)) or 'none'}")
        message[key] = _text(content, f"{where}, {key!r}")
    return message | {"role": _OTHER_ROLE_NAMES.get(message["role"], message["role"])}


def check_prompt(messages: tuple[Message, ...], place: str, column: str) -> None:
    """Require that a prompt ends with a user turn.

    Raises:
        ValueError: naming the role found instead.
    """
    if not messages or messages[-1]["role"] != "user":
        found = messages[-1]["role"] if messages else "no message"
        raise ValueError(f"{place}: column {column!r}: the last message of a prompt must be from 'user', found {found!r}")


def _text(value: str, where: str) -> str:
    if not value.strip():
        raise ValueError(f"{where} is empty")
    return value


def _describe(value: Any) -> str:
    return "an empty list" if value == [] else f"{type(value).__name__} {str(value)[:60]!r}"
