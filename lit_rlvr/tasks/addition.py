"""Addition of two numbers in columns: the embedded default's task."""

import random

from lit_rlvr.data.sources import ConversationSource, PromptSource
from lit_rlvr.tasks.base import Problem, ProceduralTask, Split, as_conversations, as_prompt, draw_problems
from lit_rlvr.types import Conversation, Prompt


def column_steps(first: int, second: int) -> str:
    """Return the scratchpad: one column a step, from the ones on, `digit+digit+carry=sum`.

    >>> column_steps(57, 68)
    '7+8+0=15,5+6+1=12'
    """
    width = max(len(str(first)), len(str(second)))
    steps, carry = [], 0
    for a, b in zip(reversed(f"{first:0{width}}"), reversed(f"{second:0{width}}"), strict=True):
        total = int(a) + int(b) + carry
        steps.append(f"{a}+{b}+{carry}={total}")
        carry = total // 10
    return ",".join(steps)


class Addition(ProceduralTask):
    """`a+b=` for two numbers whose lengths are drawn uniformly."""

    name = "addition"

    def __init__(self, min_digits: int = 3, max_digits: int = 5) -> None:
        if not 1 <= min_digits <= max_digits:
            raise ValueError(f"digits must satisfy 1 <= min_digits <= max_digits, got {min_digits} and {max_digits}")
        self.min_digits, self.max_digits = min_digits, max_digits

    def draw(self, rng: random.Random) -> Problem:
        """Draw two numbers; the key is the unordered pair, so `12+5` and `5+12` are one problem."""
        first, second = (self._number(rng) for _ in range(2))
        key = f"{min(first, second)}+{max(first, second)}"
        return Problem(key, f"{first}+{second}=", column_steps(first, second), str(first + second))

    def _number(self, rng: random.Random) -> int:
        digits = rng.randint(self.min_digits, self.max_digits)
        return rng.randrange(10 ** (digits - 1), 10**digits)
