"""The classes of a configuration, each with its settings and the keys that lead to it."""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple, get_args, get_type_hints

from jsonargparse import Namespace


class Configured(NamedTuple):
    """A class (or function) that the configuration names, or a plain dataclass that a class asks for."""

    thing: type | Callable[..., Any]
    keys: tuple[str, ...]
    """From the top, without `init_args` and positions in lists."""
    settings: tuple[str, ...]
    """Names of its parameters in the resolved configuration, defaults included."""


def configured(value: Any, annotation: Any = None, keys: tuple[str, ...] = ()) -> Iterator[Configured]:
    """Yield every class in a resolved configuration, the outer ones first.

    Args:
        value: a section, a list, or a plain value.
        annotation: the type that is expected there; a dataclass is known by it alone.
        keys: that lead to the value.
    """
    if isinstance(value, Namespace | Mapping):
        section = dict(vars(value) if isinstance(value, Namespace) else value)
        thing = _imported(section["class_path"]) if isinstance(section.get("class_path"), str) else _dataclass_in(annotation)
        if "class_path" in section:
            arguments = section.get("init_args") or {}
            section = dict(vars(arguments) if isinstance(arguments, Namespace) else arguments)
        if thing is not None:
            yield Configured(thing, keys, tuple(section))
        hints = _hints(thing)
        for name, inner in section.items():
            yield from configured(inner, hints.get(name, annotation if thing is None else None), (*keys, name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from configured(inner, annotation, keys)


def _imported(path: str) -> Any:
    """Return what a class path names; the parser has found it before."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _dataclass_in(annotation: Any) -> type | None:
    """Return the dataclass of annotations such as `Limits | None` or `list[Limits]`."""
    if inspect.isclass(annotation) and dataclasses.is_dataclass(annotation):
        return annotation
    return next((found for part in get_args(annotation) if (found := _dataclass_in(part)) is not None), None)


def _hints(thing: Any) -> dict[str, Any]:
    """Return the types of a constructor's parameters, those of its bases included; none where they cannot be had."""
    hints: dict[str, Any] = {}
    for owner in reversed(getattr(thing, "__mro__", (thing,))):
        function = owner.__dict__.get("__init__") if inspect.isclass(owner) else owner
        if inspect.isfunction(function):
            try:
                hints |= get_type_hints(function)
            except (NameError, TypeError):
                continue
    return hints
