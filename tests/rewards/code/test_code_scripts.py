import pytest

from lit_rlvr.rewards.code import AssertTest, CallTest
from lit_rlvr.rewards.code.scripts import split_script


@pytest.mark.parametrize(
    ("line", "test"),
    [
        ("assert sum('abc') == 3", CallTest("sum", '["abc"]', "3")),
        ("assert f(1, 'a') == [1, 2]", CallTest("f", '[1, "a"]', "[1, 2]")),
        ("assert 3 == f()", CallTest("f", "[]", "3")),
        ("assert f(-1.5) == (1, (2,)), 'why'", CallTest("f", "[-1.5]", "[1, [2]]")),
        ("assert f({'a': None}) is True", CallTest("f", '[{"a": null}]', "true")),
        ("assert f(n=2, k=3) == 8", CallTest("f", '{"n": 2, "k": 3}', "8")),
        ("assert Solution().f([3]) == 3", CallTest("Solution.f", "[[3]]", "3")),
    ],
)
def test_a_comparison_of_a_call_with_a_literal_becomes_a_call_test(line: str, test: CallTest) -> None:
    assert split_script(line) == [test]


@pytest.mark.filterwarnings("ignore:.*with a literal:SyntaxWarning")
@pytest.mark.parametrize(
    "line",
    [
        "assert f((1, 2)) == 3",
        "assert f([1, (2,)]) == 3",
        "assert f({1: 2}) == 3",
        "assert f({1, 2}) == 3",
        "assert f(1) == {1, 2}",
        "assert f(1) == {1: 2}",
        "assert f(b'x') == 3",
        "assert f(1, k=2) == 3",
        "assert f(*[1]) == 3",
        "assert f(**{'a': 1}) == 3",
        "assert f(x) == 3",
        "assert f(1) == x",
        "assert f(1) != 3",
        "assert f(1) is 3",
        "assert f(1)",
        "assert not f(1)",
        "assert f(1) == f(2)",
        "assert 0 < f(1) == 3",
        "assert sorted(f(1)) == [1]",
        "assert abs(f(1) - 0.5) < 1e-6",
        "assert f(1) == float('inf')",
        "assert f(1) == 1e999",
        "assert f(1) == 1j",
        "assert Solution(3).f(1) == 1",
        "assert module.f(1) == 1",
    ],
)
def test_every_other_assertion_runs_as_it_is(line: str) -> None:
    (test,) = split_script(line)
    assert isinstance(test, AssertTest)
    compile(test.script, "script", "exec")
    assert test.script.startswith("assert ")


def test_names_of_the_script_are_not_the_programs() -> None:
    script = "import math\ndef near(a): return a\nassert near(f) == 1\nassert math.floor(f(1)) == 1\nassert f(1) == 1"
    kinds = [type(test) for test in split_script(script)]
    assert kinds == [AssertTest, AssertTest, CallTest]


def test_single_assertions_take_the_definitions_along() -> None:
    script = "import math\n'doc'\ndef near(a, b):\n    return abs(a - b) < 0.1\nassert near(f(1), 2)\nassert f(2) == 4"
    near, call = split_script(script)
    assert near == AssertTest("import math\n\ndef near(a, b):\n    return abs(a - b) < 0.1\nassert near(f(1), 2)\n")
    assert call == CallTest("f", "[2]", "4")


def test_a_script_with_a_state_stays_whole() -> None:
    script = "x = f(1)\nassert x == 1\nx = f(2)\nassert x == 2"
    assert split_script(script) == [AssertTest(script + "\n")]


def test_check_is_split_and_handed_the_candidate() -> None:
    script = "METADATA = {'a': 1}\n\n\ndef check(candidate):\n    'doc'\n    assert candidate(2) == 4\n    assert abs(candidate(3)) > 8\n"
    call, other = split_script(script, "square")
    assert call == CallTest("square", "[2]", "4")
    assert other == AssertTest("METADATA = {'a': 1}\nassert abs(candidate(3)) > 8\n", "square")
    assert split_script(script + "\ncheck(Solution().square)")[0] == CallTest("Solution.square", "[2]", "4")
    assert split_script(script + "\ncheck(cube)", "square")[0] == CallTest("cube", "[2]", "4")
    with pytest.raises(ValueError, match="no assertion"):
        split_script(script)


def test_a_check_that_computes_stays_whole() -> None:
    script = "def check(candidate):\n    for i in range(3):\n        assert candidate(i) == i * i\n"
    (test,) = split_script(script, "square")
    assert isinstance(test, AssertTest)
    assert test.candidate == "square"
    assert test.script == script + "check(candidate)\n"


def test_test_functions_are_one_by_one() -> None:
    script = """
import pytest
from solution import f, g as h
LIMIT = 3

def test_plain():
    assert f(1) == 1
    assert f(2) == 2

def test_loop():
    for i in range(LIMIT):
        assert h(i) == i
"""
    first, second, loop = split_script(script)
    assert (first, second) == (CallTest("f", "[1]", "1"), CallTest("f", "[2]", "2"))
    assert isinstance(loop, AssertTest)
    assert loop.script.startswith("h = g\nLIMIT = 3\n")
    assert loop.script.endswith("test_loop()\n")
    assert "pytest" not in loop.script
    assert "test_plain" not in loop.script


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import pytest\ndef test_f():\n    pytest.skip()", r"it uses 'pytest.skip'"),
        ("def test_f():\n    pytest.raises(ValueError, f, 1)", r"calls pytest.raises\(\) with a function"),
        ("import unittest\nclass T(unittest.TestCase):\n    def test_f(self): pass", "it uses 'unittest.TestCase'"),
        ("def test_f(tmp_path):\n    assert f(1) == 1", "test_f has arguments or decorators"),
        ("@mark\ndef test_f():\n    assert f(1) == 1", "test_f has arguments or decorators"),
        ("assert f(1) == = 1", r"not Python \(invalid syntax"),
        ("x = 1", "no assertion"),
        ("", "no assertion"),
        ("assert abs(-1) < 2", "calls nothing of the program and would always pass"),
        ("def test_f():\n    pass", "calls nothing of the program"),
        ("(" * 1000, "not Python"),
        ("assert f(1) == 1\x00", "null|not Python"),
    ],
)
def test_scripts_that_cannot_be_run_are_refused(script: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_script(script)
