"""Which tests of a problem are run."""

import random
from collections.abc import Sequence

from lit_rlvr.rewards.code.cases import CodeTest


def select_tests(tests: Sequence[CodeTest], max_tests: int, seed: int, prompt_id: str) -> tuple[CodeTest, ...]:
    """Return at most `max_tests` of the tests in their order, drawn without replacement; all of them when it is 0.

    The draw depends on the seed, the prompt's id and the number of tests only: all members of a group, on every rank and in every
    iteration, are judged by the same tests.
    """
    if max_tests == 0 or len(tests) <= max_tests:
        return tuple(tests)
    chosen = random.Random(f"{seed}/{prompt_id}").sample(range(len(tests)), max_tests)
    return tuple(tests[index] for index in sorted(chosen))
