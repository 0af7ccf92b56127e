"""What a procedural task is: problems drawn from a space that is split by hash, with worked demonstrations."""

import hashlib
import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from lit_rlvr.types import Conversation, Prompt

Split = Literal["train", "validation", "test"]
"""Which share of a task's problems: 80, 10 and 10 percent of them."""

_DRAWS_PER_PROBLEM = 200
"""Random draws allowed per requested problem before the space counts as exhausted."""


@dataclass(frozen=True)
class Problem:
    """One drawn problem with its solution."""

    key: str
    """The same for every wording of the same problem (`12+5` and `5+12`): it decides the split."""
    question: str
    """What the user asks."""
    steps: str
    """The worked solution, as a demonstration writes it between `<think>` and `</think>`."""
    answer: str
    """The verifiable answer."""

    def demonstration(self, is_worked: bool) -> str:
        """Return a correct response: the steps and the boxed answer, or the answer after an empty thought."""
        return f"<think>{self.steps if is_worked else ''}</think>\\boxed{{{self.answer}}}"


class ProceduralTask(ABC):
    """A space of problems to draw from."""

    name: str
    """Names the task in ids and metrics."""

    @abstractmethod
    def draw(self, rng: random.Random) -> Problem:
        """Draw one problem. All randomness comes from `rng`."""


def split_of(key: str) -> Split:
    """Return the one split a problem belongs to, whatever the seed: 80% train, 10% validation, 10% test, by hash.

    >>> split_of("12+5") == split_of("12+5")
    True
    """
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 10
    return "test" if bucket == 9 else "validation" if bucket == 8 else "train"


def draw_problems(task: ProceduralTask, split: Split, num: int, seed: int) -> list[Problem]:
    """Draw `num` distinct problems of a split, the same ones for the same seed.

    Raises:
        ValueError: when `num` is below 1, the split is unknown, or the split's space holds too few distinct problems.
    """
    if num < 1:
        raise ValueError(f"num must be at least 1, got {num}")
    if split not in ("train", "validation", "test"):
        raise ValueError(f"split must be 'train', 'validation' or 'test', got {split!r}")
    rng = random.Random(f"{task.name}/{split}/{seed}")
    problems: dict[str, Problem] = {}
    for _ in range(_DRAWS_PER_PROBLEM * (num + 50)):
        problem = task.draw(rng)
        if problem.key not in problems and split_of(problem.key) == split:
            problems[problem.key] = problem
            if len(problems) == num:
                return list(problems.values())
    raise ValueError(f"found only {len(problems)} distinct {split} problems of {task.name!r}, num={num} asks for more: "
                     "lower num or widen the task")


def as_prompt(problem: Problem, source: str) -> Prompt:
    """Return the problem as a prompt of one user turn, its key as id."""
    return Prompt(problem.key, ({"role": "user", "content": problem.question},), problem.answer, source)


def as_conversations(problems: list[Problem], source: str, terse_share: float, seed: int) -> list[Conversation]:
    """Return correct demonstrations, a random `terse_share` of them with an empty thought.

    Raises:
        ValueError: when `terse_share` is not in [0, 1].
    """
    if not 0 <= terse_share <= 1:
        raise ValueError(f"terse_share must be in [0, 1], got {terse_share}")
    rng = random.Random(f"{source}/terse/{seed}")
    return [
        Conversation(p.key, ({"role": "user", "content": p.question},), p.demonstration(rng.random() >= terse_share), source)
        for p in problems
    ]
