"""The command line `lit-rlvr`. Importing it loads neither torch nor Lightning."""

from lit_rlvr.cli.main import main

__all__ = ["main"]
