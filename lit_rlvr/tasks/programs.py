"""Short Python programs from examples: a function with three cases, scored by running the program."""

import random
from collections.abc import Sequence

from lit_rlvr.data.sources import ConversationSource, PromptSource
from lit_rlvr.tasks.base import Problem, ProceduralTask, Split, draw_problems
from lit_rlvr.types import Conversation, Prompt

CASES = 3
"""`k` is 0, 1 or 2, and each has a straight line of its own."""
SLOPES = range(2, 7)
INTERCEPTS = range(1, 10)
TEST_INPUTS = range(2, 100)
"""Values of `n` in the tests; the examples in the prompt are 0 and 1."""
TESTS_PER_CASE = 2

Line = tuple[int, int]
"""Slope and intercept of a case."""


def program_text(lines: Sequence[Line]) -> str:
    """Return the program that reads `k` and `n` and prints the value of line `k` at `n`.

    >>> print(program_text([(2, 1), (3, 4), (5, 7)]))
    k=int(input())
    n=int(input())
    if k==0:print(2*n+1)
    elif k==1:print(3*n+4)
    else:print(5*n+7)
    """
    conditions = ["if k==0:", *(f"elif k=={case}:" for case in range(1, len(lines) - 1)), "else:"]
    branches = [f"{c}print({slope}*n+{intercept})" for c, (slope, intercept) in zip(conditions, lines, strict=True)]
    return "\n".join(["k=int(input())", "n=int(input())", *branches])


class Programs(ProceduralTask):
    """A function of `k` and `n`: for each `k` another straight line in `n`, shown by its values at 0 and 1.

    `0:4,9` in the prompt says that for `k = 0` the values are 4 and 9, so that the line is `5*n+4`.
    """

    name = "programs"

    def draw(self, rng: random.Random) -> Problem:
        """Draw the lines. The key spells them."""
        lines = [(rng.choice(SLOPES), rng.choice(INTERCEPTS)) for _ in range(CASES)]
        key = ",".join(f"{slope}n+{intercept}" for slope, intercept in lines)
        rows = [f"{case}:{intercept},{slope + intercept}" for case, (slope, intercept) in enumerate(lines)]
        return Problem(key, "\n".join(rows), "", program_text(lines))


def lines_of(problem: Problem) -> list[Line]:
    """Return the lines that a problem's key spells."""
    parts = (part.split("n+") for part in problem.key.split(","))
    return [(int(slope), int(intercept)) for slope, intercept in parts]


def tests_of(problem: Problem) -> list[dict[str, str]]:
    """Return the hidden tests, `TESTS_PER_CASE` for each case: what the program reads, and what it must print."""
    rng = random.Random(problem.key)
    return [
        {"input": f"{case}\n{n}\n", "output": f"{slope * n + intercept}\n"}
        for case, (slope, intercept) in enumerate(lines_of(problem))
        for n in rng.sample(TEST_INPUTS, TESTS_PER_CASE)
    ]


class ProgramPrompts(PromptSource):
    """Distinct functions of one split, with hidden tests. A function belongs to one split only, whatever the seed.

    Args:
        split: `train`, `validation` or `test`.
        num: how many problems.
        seed: decides which.
    """

    def __init__(self, split: Split = "train", num: int = 4096, seed: int = 0) -> None:
        self.split: Split = split
        self.num, self.seed = num, seed

    def load(self) -> list[Prompt]:
        """Draw the problems."""
        return [
            Prompt(p.key, ({"role": "user", "content": p.question},), p.answer, Programs.name, metadata={"tests": tests_of(p)})
            for p in draw_problems(Programs(), self.split, self.num, self.seed)
        ]


class ProgramConversations(ConversationSource):
    """Distinct functions of one split with programs of a careless author, who gets cases wrong, or forgets the last one.

    Args:
        split: `train`, `validation` or `test`.
        num: how many problems.
        seed: decides which, and what is wrong with which program.
        lazy_share: probability of a program without a branch for the last case.
        slip_rate: probability that a case has a wrong slope or a wrong intercept, for each case on its own.
    """

    def __init__(
        self, split: Split = "train", num: int = 16384, seed: int = 0, lazy_share: float = 0.6, slip_rate: float = 0.2
    ) -> None:
        for name, value in (("lazy_share", lazy_share), ("slip_rate", slip_rate)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")
        self.split: Split = split
        self.num, self.seed = num, seed
        self.lazy_share, self.slip_rate = lazy_share, slip_rate

    def load(self) -> list[Conversation]:
        """Draw the problems and write their programs."""
        rng = random.Random(f"{Programs.name}/carelessness/{self.seed}")
        problems = draw_problems(Programs(), self.split, self.num, self.seed)
        return [
            Conversation(p.key, ({"role": "user", "content": p.question},), self._response(p, rng), Programs.name)
            for p in problems
        ]

    def _response(self, problem: Problem, rng: random.Random) -> str:
        lines = [_wrong(line, rng) if rng.random() < self.slip_rate else line for line in lines_of(problem)]
        is_lazy = rng.random() < self.lazy_share
        return f"```python\n{program_text(lines[:-1] if is_lazy else lines)}\n```"


def _wrong(line: Line, rng: random.Random) -> Line:
    """Return another line: another slope, or another intercept."""
    slope, intercept = line
    if rng.random() < 0.5:
        return rng.choice([other for other in SLOPES if other != slope]), intercept
    return slope, rng.choice([other for other in INTERCEPTS if other != intercept])
