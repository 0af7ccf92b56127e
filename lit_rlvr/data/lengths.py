"""What happens to prompts and conversations that are too long: an error or a counted drop, never a silent cut."""

import warnings
from collections.abc import Sequence
from typing import TypeVar

from lit_rlvr.types import Conversation, Prompt

Example = TypeVar("Example", Prompt, Conversation)


def keep_short(
    examples: Sequence[Example], lengths: Sequence[int], limit: int, drops_long: bool, setting: str
) -> list[Example]:
    """Return the examples of at most `limit` tokens, in their order.

    Args:
        examples: prompts or conversations.
        lengths: tokens of each.
        limit: most tokens.
        drops_long: leave longer ones out with a warning that counts them, instead of raising.
        setting: the configuration key of the limit, for the messages.

    Raises:
        ValueError: for the longest example beyond the limit unless `drops_long`; and when nothing is left.
    """
    long = sorted((i for i, length in enumerate(lengths) if length > limit), key=lambda i: -lengths[i])
    if not long:
        return list(examples)
    kind = type(examples[0]).__name__.lower()
    worst = f"the longest is {examples[long[0]].id!r} with {lengths[long[0]]}"
    found = f"{len(long)} of {len(examples)} {kind}s are longer than {setting}={limit} tokens; {worst}"
    if not drops_long:
        raise ValueError(f"{found}. Raise the limit, or drop them with a `drop_long_...` setting")
    if len(long) == len(examples):
        raise ValueError(f"{found}. None would be left: raise the limit")
    warnings.warn(f"{found}. They are left out", stacklevel=2)
    dropped = set(long)
    return [example for i, example in enumerate(examples) if i not in dropped]
