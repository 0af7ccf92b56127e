"""`--help` that fits on a few screens: Lightning's paragraphs cut to their first sentence."""

import argparse
import re

RST_ROLE = re.compile(r":[a-z:]+:`~?(?:[\w.]+\.)?(\w+)`")
SENTENCE_END = re.compile(r"(?<!e\.g)(?<!i\.e)(?<=\w\w)[.!?](?=\s|$)")

MORE_HELP = """settings of a class:
  --model.help, --data.help [CLASS]      of the module and the data module
  --model.objective.help CLASS           of any class inside them
  --print_config                         the whole resolved configuration, as a file that can be given to -c"""


def shorten_help(parser: argparse.ArgumentParser) -> None:
    """Cut the help of every option of the Trainer and its methods to one sentence, and say where the rest is."""
    for action in parser._actions:
        if action.help and action.help is not argparse.SUPPRESS:
            action.help = first_sentence(action.help)
    parser.epilog = MORE_HELP


def first_sentence(text: str) -> str:
    """Return the first sentence of reStructuredText, without its markup.

    >>> first_sentence("Runs ``n`` steps of :class:`~a.b.Trainer`. Default: ``None``.")
    'Runs n steps of Trainer.'
    """
    plain = " ".join(RST_ROLE.sub(r"\1", text).replace("``", "").split())
    end = SENTENCE_END.search(plain)
    return plain[: end.end()] if end else plain
