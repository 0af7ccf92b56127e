import doctest
from types import ModuleType

import pytest

from lit_rlvr.rewards import answer, choice, equality, language, repetition, units


@pytest.mark.parametrize("module", [answer, choice, equality, language, repetition, units], ids=lambda module: module.__name__)
def test_examples_in_docstrings_are_true(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
