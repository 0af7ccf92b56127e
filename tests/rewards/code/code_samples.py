"""Prompts, completions and limits for the tests of the code reward."""

import json
from typing import Any

from lit_rlvr.sandbox import Limits
from lit_rlvr.types import Completion, Prompt

LIMITS = Limits(cpu_s=0.4, wall_s=2.5)
SUMS = {"inputs": ["1 2\n", "4 5\n", "-3 3\n", "10 20\n"], "outputs": ["3\n", "9\n", "0\n", "30\n"]}
RIGHT = "a, b = map(int, input().split())\nprint(a + b)"
HALF = "a, b = map(int, input().split())\nprint(a + b if a + b < 5 else 'many')"


def prompt(answer: Any = SUMS, name: str = "p1", **metadata: Any) -> Prompt:
    return Prompt(name, (), answer if isinstance(answer, str) else json.dumps(answer), metadata=metadata)


def completion(program: str, cut: bool = False) -> Completion:
    text = f"<think>Let me see.</think>\n```python\n{program}\n```"
    return Completion((1, 2), (0.0, 0.0), "length" if cut else "stop", text=text)
