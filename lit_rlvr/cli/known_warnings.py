"""Warnings of Lightning and PyTorch that are wrong about this package, or that its users can do nothing about."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

KNOWN = (
    r"Total length of `list` across ranks is zero",  # no validation data: nothing to warn of
    r"You're resuming from a checkpoint that ended before the epoch ended",  # the DataModule keeps the position, not the loader
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


@contextmanager
def known_warnings_hidden() -> Iterator[None]:
    """Hide them for a while."""
    with warnings.catch_warnings():
        for message in KNOWN:
            warnings.filterwarnings("ignore", message=message)
        yield
