"""Python values as JSON and back, for the pipes between a solution and its test: only plain values come out."""

from collections.abc import Callable
from typing import Any

_LARGEST_PLAIN_INT = 1 << 62
_COLLECTIONS = {"tuple": tuple, "set": set, "frozenset": frozenset}
_SCALARS: dict[type, Callable[[Any], Any]] = {
    bytes: lambda value: {"bytes": value.hex()},
    bytearray: lambda value: {"bytes": value.hex()},
    complex: lambda value: {"complex": [value.real, value.imag]},
    range: lambda value: {"range": [value.start, value.stop, value.step]},
}


def encode(value: Any, refer: Callable[[Any], int]) -> Any:
    """Return `value` as a tree that JSON can hold.

    Args:
        value: anything.
        refer: keeps an object that is no plain value and returns a number for it.
    """
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _LARGEST_PLAIN_INT else {"int": hex(value)}
    if isinstance(value, list):
        return [encode(item, refer) for item in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key, refer), encode(item, refer)] for key, item in value.items()]}
    for name, kind in _COLLECTIONS.items():
        if isinstance(value, kind):
            return {name: [encode(item, refer) for item in value]}
    if type(value) in _SCALARS:
        return _SCALARS[type(value)](value)
    if callable(getattr(value, "tolist", None)) and not isinstance(value, type):
        return encode(value.tolist(), refer)
    return {"object": refer(value)}


def decode(tree: Any, resolve: Callable[[int], Any]) -> Any:
    """Return the value of a tree that `encode` made.

    Args:
        tree: what JSON held; nothing is assumed of it.
        resolve: returns the object of a number that stands for one.

    Raises:
        ValueError, TypeError, KeyError, RecursionError: the tree was not made by `encode`.
    """
    if isinstance(tree, list):
        return [decode(item, resolve) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind in _COLLECTIONS:
        return _COLLECTIONS[kind]([decode(item, resolve) for item in content])
    if kind == "dict":
        return {decode(key, resolve): decode(item, resolve) for key, item in content}
    if kind == "int":
        return int(content, 16)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "complex":
        return complex(*content)
    if kind == "range":
        return range(*content)
    if kind == "object":
        return resolve(content)
    raise ValueError(f"unknown kind of value {kind!r}")
