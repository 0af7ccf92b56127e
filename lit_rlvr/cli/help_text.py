"""`--help` that fits on a few screens: Lightning's paragraphs cut to their first sentence."""

import argparse
import re

from lightning.pytorch.cli import LightningArgumentParser

RST_ROLE = re.compile(r":[a-z:]+:`~?(?:[\w.]+\.)?(\w+)`")
SENTENCE_END = re.compile(r"(?<!e\.g)(?<!i\.e)(?<=\w\w)[.!?](?=\s|$)")

MORE_HELP = (
    "--model.help and --data.help show the settings of the module and the data module, --model.objective.help CLASS those "
    "of a class inside them. --print_config prints the whole resolved configuration as a file that can be given to -c."
)


def shorten_help(parser: LightningArgumentParser) -> None:
    """Cut every option to one sentence, the usage to one line, and put the Trainer's many options last."""
    for action in parser._actions:
        if action.help and action.help is not argparse.SUPPRESS:
            action.help = first_sentence(action.help)
        if action.dest.startswith("trainer.") and hasattr(action, "extra_help"):
            action.extra_help = str  # no list of every subclass: `str()` is the empty text
    assert parser.groups is not None
    trainer = parser.groups["trainer"]
    parser._action_groups = sorted(parser._action_groups, key=lambda group: group is trainer)
    parser.usage = f"{parser.prog.replace(' [options]', '')} [-c FILE]... [--KEY VALUE]..."
    parser.epilog = MORE_HELP


def first_sentence(text: str) -> str:
    """Return the first sentence of reStructuredText, without its markup.

    >>> first_sentence("Runs ``n`` steps of :class:`~a.b.Trainer`. Default: ``None``.")
    'Runs n steps of Trainer.'
    """
    plain = " ".join(RST_ROLE.sub(r"\1", text).replace("``", "").split())
    end = SENTENCE_END.search(plain)
    return plain[: end.end()] if end else plain
