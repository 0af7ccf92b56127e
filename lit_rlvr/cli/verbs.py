"""Tables of verbs, for the command and for those of its verbs that have several parts."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import NamedTuple

from lit_rlvr.cli.suggestion import did_you_mean

USAGE_ERROR = 2


class Verb(NamedTuple):
    """What one word of the command line runs."""

    help: str
    """One line for `--help`."""
    target: str
    """`module:function`, imported when the verb is called; the function takes the arguments after the verb."""

    def load(self) -> Callable[[list[str]], None]:
        """Import and return the function."""
        module, function = self.target.split(":")
        return getattr(import_module(module), function)


def lines_of_help(verbs: Mapping[str, Verb]) -> list[str]:
    """Return an indented line for each verb."""
    width = max(map(len, verbs)) + 2
    return [f"  {name:<{width}}{verb.help}" for name, verb in verbs.items()]


def run_part(command: str, parts: Mapping[str, Verb], args: list[str], more_help: str = "") -> None:
    """Run the part of a command that the first argument names, with the arguments after it.

    Raises:
        SystemExit: with code 2, when there is no such part; the nearest name and the usage were printed.
    """
    usage = "\n".join(
        [f"usage: {command} {'|'.join(parts)} [options]", "", *lines_of_help(parts), *(["", more_help] * bool(more_help))]
    )
    if args and args[0] in ("-h", "--help"):
        print(usage)
        return
    if not args or args[0] not in parts:
        *others, last = parts
        expected = f"expected {', '.join(others)} or {last} first."
        problem = f"unknown '{args[0]}'.{did_you_mean(args[0], parts)}" if args else expected
        print(f"error: {problem}\n\n{usage}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR)
    parts[args[0]].load()(args[1:])
