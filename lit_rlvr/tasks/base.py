"""What a procedural task is: problems with worked solutions, drawn from a space that is split by hash.

A new task is one file: a `ProceduralTask` that draws problems, and two sources like those of `addition.py`.
"""

import hashlib
import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from lit_rlvr.types import Conversation, Prompt

Split = Literal["train", "validation", "test"]
"""80, 10 and 10 percent of a task's problems."""

_DRAWS_PER_PROBLEM = 200
"""Draws allowed per requested problem before the space counts as exhausted; one in ten falls into a held-out split."""


@dataclass(frozen=True)
class Problem:
    """One drawn problem with its solution."""

    key: str
    """The same for every wording of the problem (`12+5` and `5+12`). It decides the split and is the id."""
    question: str
    """What the user asks."""
    steps: str
    """The worked solution."""
    answer: str
    """The verifiable answer."""

    def as_prompt(self, source: str) -> Prompt:
        """Return the problem as a prompt of one user turn."""
        return Prompt(self.key, self._messages, self.answer, source)

    def as_conversation(self, source: str, is_worked: bool) -> Conversation:
        """Return the problem with a correct response: the steps (or an empty thought) and the boxed answer."""
        response = f"<think>{self.steps if is_worked else ''}</think>\\boxed{{{self.answer}}}"
        return Conversation(self.key, self._messages, response, source)

    @property
    def _messages(self) -> tuple[dict[str, str]]:
        return ({"role": "user", "content": self.question},)


class ProceduralTask(ABC):
    """A space of problems to draw from."""

    name: str
    """Names the task in metrics."""

    @abstractmethod
    def draw(self, rng: random.Random) -> Problem:
        """Draw one problem, with all randomness from `rng`."""


def split_of(key: str) -> Split:
    """Return the one split a problem belongs to, whatever the seed, by a hash of its key.

    >>> [split_of(f"{n}+7") for n in range(4, 8)]
    ['train', 'train', 'test', 'train']
    """
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 10
    return "test" if bucket == 9 else "validation" if bucket == 8 else "train"


def draw_problems(task: ProceduralTask, split: Split, num: int, seed: int) -> list[Problem]:
    """Draw `num` distinct problems of a split, the same ones for the same seed; a larger `num` only adds problems at the end.

    Raises:
        ValueError: when `num` is below 1, or the split holds too few distinct problems.
    """
    if num < 1:
        raise ValueError(f"num must be at least 1, got {num}")
    rng = random.Random(f"{task.name}/{split}/{seed}")
    problems: dict[str, Problem] = {}
    for _ in range(_DRAWS_PER_PROBLEM * (num + 10)):
        problem = task.draw(rng)
        if problem.key not in problems and split_of(problem.key) == split:
            problems[problem.key] = problem
            if len(problems) == num:
                return list(problems.values())
    raise ValueError(
        f"only {len(problems)} distinct {split} problems of {task.name!r} were found, num={num} asks for more: "
        "lower num, or widen the task"
    )
