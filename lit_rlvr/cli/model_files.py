"""The verbs that write model directories."""

import jsonargparse


def make_model(args: list[str]) -> None:
    """Write a tiny untrained model and its tokenizer."""
    from lit_rlvr.tasks.tiny_model import make_model as write_model

    jsonargparse.auto_cli(write_model, args=args, prog="lit-rlvr make-model")


def export(args: list[str]) -> None:
    """Write a checkpoint of a run as a Hugging Face model directory."""
    from lit_rlvr.modules.export import export_checkpoint

    jsonargparse.auto_cli(export_checkpoint, args=args, prog="lit-rlvr export")
