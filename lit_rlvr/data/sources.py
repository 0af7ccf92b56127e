"""Where prompts and conversations come from: the interfaces."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from lit_rlvr.data.rows import Row
from lit_rlvr.types import Conversation, Prompt

Example = TypeVar("Example", Prompt, Conversation)


class PromptSource(ABC):
    """A list of prompts with verifiable answers. The constructor's parameters are its configuration."""

    @abstractmethod
    def load(self) -> list[Prompt]:
        """Return the prompts, their ids unique, in the same order at every call."""


class ConversationSource(ABC):
    """A list of supervised examples. The constructor's parameters are its configuration."""

    @abstractmethod
    def load(self) -> list[Conversation]:
        """Return the conversations, their ids unique, in the same order at every call."""


def examples_from_rows(rows: Iterator[Row], make: Callable[[Row, int], Example], limit: int | None) -> list[Example]:
    """Return what `make` returns for each row and its running number, for at most `limit` rows.

    Raises:
        ValueError: when `limit` is below 1, or when two rows have the same id, with the places of both.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 (or null for all rows), got {limit}")
    examples: list[Example] = []
    places: dict[str, str] = {}
    for number, row in enumerate(islice(rows, limit)):
        example = make(row, number)
        if example.id in places:
            raise ValueError(f"{row.place}: id {example.id!r} was already used at {places[example.id]}; ids must be unique")
        places[example.id] = row.place
        examples.append(example)
    return examples
