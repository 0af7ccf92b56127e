"""The verbs that write model directories."""

from collections.abc import Callable

import jsonargparse

from lit_rlvr.cli.mistakes import mistakes_explained
from lit_rlvr.cli.parser import Parser
from lit_rlvr.cli.parsing_settings import configure_parsing


def make_model(args: list[str]) -> None:
    """Write a tiny untrained model and its tokenizer."""
    from lit_rlvr.tasks.tiny_model import make_model as write_model

    _call(write_model, "make-model", args)


def export(args: list[str]) -> None:
    """Write a checkpoint of a run as a Hugging Face model directory."""
    from lit_rlvr.modules.export import export_checkpoint

    _call(export_checkpoint, "export", args)


def _call(function: Callable[..., None], verb: str, args: list[str]) -> None:
    configure_parsing()
    with mistakes_explained():
        jsonargparse.auto_cli(function, args=args, prog=f"lit-rlvr {verb}", description=None, parser_class=Parser)
