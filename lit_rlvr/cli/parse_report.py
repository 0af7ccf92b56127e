"""What jsonargparse says about a failed parse, and the questions an explanation asks of it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from inspect import isabstract, isclass
from typing import Any, NamedTuple, get_args

from jsonargparse import ArgumentParser

from lit_rlvr.cli.config_location import find_setting

PARSER_KEY = re.compile(r'Parser key "([^"]+)":')


class Failure(NamedTuple):
    """What one parser reported, the nested ones included."""

    parser: ArgumentParser
    message: str


class Report(NamedTuple):
    """A failed parse: the outermost message, its nested failures, and the command line."""

    message: str
    """Contains the nested messages, each indented below the key it is about."""
    failures: Sequence[Failure]
    """The failures that the message contains, innermost first, the outermost last."""
    args: Sequence[str]

    def keys_above(self, position: int) -> list[str]:
        """Return the keys that lead to the text at `position`: the less indented `Parser key` lines before it."""
        rest_of_line = self.message[position:].split("\n", 1)[0]
        lines = (self.message[:position] + rest_of_line).split("\n")
        keys: list[str] = []
        limit = len(lines[-1]) - len(lines[-1].lstrip()) + 1
        for line in reversed(lines):
            indent = len(line) - len(line.lstrip())
            if line.strip() and indent < limit:
                named = PARSER_KEY.search(line)
                if named:
                    keys = [*named[1].split("."), *keys]
                limit = indent
        return keys

    def place(self, names: Sequence[str], value: str | None = None) -> str:
        """Return `'the.key' (file, line)`, as it was written where it can be found on the command line."""
        setting = find_setting(names, self.args, value) or find_setting(names, self.args)
        return f"'{setting.dotted}' ({setting.place})" if setting else f"'{'.'.join(names)}'"

    def parser_of(self, text: str) -> ArgumentParser:
        """Return the innermost parser that reported `text`."""
        return next(failure.parser for failure in self.failures if text in failure.message)

    def classes_accepted(self, position: int) -> list[str]:
        """Return the names of the loaded classes that the key above `position` accepts."""
        keys = self.keys_above(position)
        for parser, message in self.failures:
            named = PARSER_KEY.match(message)
            if named and keys[-1:] == named[1].split(".")[-1:]:
                types = [getattr(action, "_typehint", None) for action in parser._actions if action.dest == named[1]]
                return sorted({cls.__name__ for cls in _concrete_classes(types)})
        return []


def make_report(failure: Failure, nested: Sequence[Failure], args: Sequence[str]) -> Report:
    """Return the report of the outermost failure.

    Args:
        failure: of the outermost parser.
        nested: failures of the parsers of classes, in the order in which they happened. Those of attempts that did not matter
            in the end are not part of the outermost message and are left out.
        args: the command line.
    """
    flat = _flat(failure.message)
    return Report(failure.message, [*(f for f in nested if _flat(f.message) in flat), failure], args)


def first_unknown(key: Sequence[str], parser: ArgumentParser) -> tuple[list[str], set[str]]:
    """Return the key up to its first part that the parser does not know, and the names it knows there."""
    known_keys = [action.dest.split(".") for action in parser._actions if action.dest not in ("help", "print_config")]
    for depth in range(len(key)):
        known = {path[depth] for path in known_keys if path[:depth] == list(key[:depth]) and len(path) > depth}
        if key[depth] not in known:
            return list(key[: depth + 1]), known
    return list(key), set()


def _concrete_classes(types: Iterable[Any]) -> Iterator[type]:
    """Yield the loaded classes that annotations such as `dict[str, Base] | None` or `Callable[[X], Base]` accept."""
    for annotation in types:
        if get_args(annotation):
            yield from _concrete_classes(get_args(annotation))
        elif isinstance(annotation, list):  # the parameters of a Callable
            continue
        elif isclass(annotation):
            if not isabstract(annotation):
                yield annotation
            yield from _concrete_classes(annotation.__subclasses__())


def _flat(text: str) -> str:
    return " ".join(text.split())
