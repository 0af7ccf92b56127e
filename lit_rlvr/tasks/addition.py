"""Addition of two numbers in columns: the embedded default's task."""

import random

from lit_rlvr.data.sources import ConversationSource, PromptSource
from lit_rlvr.tasks.base import Problem, ProceduralTask, Split, draw_problems
from lit_rlvr.types import Conversation, Prompt


def column_steps(first: int, second: int) -> str:
    """Return the scratchpad: a step for each column, from the ones on, `digit+digit+carry=sum`.

    A sum is always two digits, the next carry and a digit of the answer. All steps are then equally long, so that the next pair
    of digits is always at the same distance: a tiny model learns this faster than sums of one or two digits.

    >>> column_steps(57, 62)
    '7+2+0=09,5+6+0=11'
    """
    width = max(len(str(first)), len(str(second)))
    steps, carry = [], 0
    for a, b in zip(reversed(f"{first:0{width}}"), reversed(f"{second:0{width}}"), strict=True):
        total = int(a) + int(b) + carry
        steps.append(f"{a}+{b}+{carry}={total:02}")
        carry = total // 10
    return ",".join(steps)


class Addition(ProceduralTask):
    """`a+b=` for two numbers; the number of digits of each is drawn uniformly.

    Args:
        min_digits: fewest digits of a number.
        max_digits: most digits of a number.
    """

    name = "addition"

    def __init__(self, min_digits: int = 3, max_digits: int = 5) -> None:
        if not 1 <= min_digits <= max_digits:
            raise ValueError(f"digits must satisfy 1 <= min_digits <= max_digits, got {min_digits} and {max_digits}")
        self.min_digits, self.max_digits = min_digits, max_digits

    def draw(self, rng: random.Random) -> Problem:
        """Draw two numbers. The key is the unordered pair: `12+5` and `5+12` are one problem."""
        first, second = self._number(rng), self._number(rng)
        key = f"{min(first, second)}+{max(first, second)}"
        return Problem(key, f"{first}+{second}=", column_steps(first, second), str(first + second))

    def _number(self, rng: random.Random) -> int:
        digits = rng.randint(self.min_digits, self.max_digits)
        return rng.randrange(10 ** (digits - 1), 10**digits)


class AdditionPrompts(PromptSource):
    """Distinct additions of one split. A problem belongs to one split only, whatever the seed.

    Args:
        split: `train`, `validation` or `test`.
        num: how many problems.
        seed: decides which.
        min_digits: fewest digits of a number.
        max_digits: most digits of a number.
    """

    def __init__(
        self, split: Split = "train", num: int = 4096, seed: int = 0, min_digits: int = 3, max_digits: int = 5
    ) -> None:
        self.task = Addition(min_digits, max_digits)
        self.split: Split = split
        self.num, self.seed = num, seed

    def load(self) -> list[Prompt]:
        """Draw the problems.

        Raises:
            ValueError: when the split holds fewer than `num` distinct problems.
        """
        return [problem.as_prompt(self.task.name) for problem in draw_problems(self.task, self.split, self.num, self.seed)]


class AdditionConversations(ConversationSource):
    """Distinct additions of one split with correct demonstrations, worked in columns or terse.

    A worked response thinks in columns and then answers; a terse one has an empty thought.

    Args:
        split: `train`, `validation` or `test`.
        num: how many problems.
        seed: decides which, and which of them are terse.
        min_digits: fewest digits of a number.
        max_digits: most digits of a number.
        terse_share: probability of a terse demonstration.
    """

    def __init__(
        self,
        split: Split = "train",
        num: int = 16384,
        seed: int = 0,
        min_digits: int = 3,
        max_digits: int = 5,
        terse_share: float = 0.3,
    ) -> None:
        if not 0 <= terse_share <= 1:
            raise ValueError(f"terse_share must be in [0, 1], got {terse_share}")
        self.task = Addition(min_digits, max_digits)
        self.split: Split = split
        self.num, self.seed, self.terse_share = num, seed, terse_share

    def load(self) -> list[Conversation]:
        """Draw the problems and write their demonstrations.

        Raises:
            ValueError: when the split holds fewer than `num` distinct problems.
        """
        rng = random.Random(f"{self.task.name}/terse/{self.seed}")
        problems = draw_problems(self.task, self.split, self.num, self.seed)
        return [p.as_conversation(self.task.name, is_worked=rng.random() >= self.terse_share) for p in problems]
