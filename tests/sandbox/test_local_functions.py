"""Function jobs and assert jobs, in every isolation."""

import json

import pytest

from lit_rlvr.sandbox import CONTEST_PRELUDE, Job, Limits, LocalSandbox, Outcome

LIMITS = Limits(cpu_s=2.0, wall_s=20.0)


def call(
    sandbox: LocalSandbox, code: str, function: str, *arguments: object, limits: Limits = LIMITS, prelude: str = ""
) -> Outcome:
    job = Job(code, function=function, arguments=json.dumps(arguments), prelude=prelude)
    (outcome,) = sandbox.run([job], limits)
    return outcome


CALLS = {
    "function": ("def f(a, b):\n    print('noise')\n    return a + b", "f", (40, 2), "42"),
    "method": ("class Solution:\n    def add(self, a, b): return a + b", "Solution.add", (40, 2), "42"),
    "method by its own name": ("class Solution:\n    def add(self, a, b): return a + b", "add", (40, 2), "42"),
    "bool is no int": ("def f(x): return [x, x == 1]", "f", (1,), "[1, true]"),
    "tuple": ("def f(): return (1, (2.5, None))", "f", (), "[1, [2.5, null]]"),
    "dict": ("def f(): return {1: 'é'}", "f", (), '{"1": "\\u00e9"}'),
    "nan": ("def f(): return [float('nan'), float('inf')]", "f", (), "[NaN, Infinity]"),
    "numpy": ("import numpy\ndef f(): return [numpy.arange(3), numpy.int64(4)]", "f", (), "[[0, 1, 2], 4]"),
    "main guard is skipped": ("def f(): return 1\nif __name__ == '__main__': input()", "f", (), "1"),
    "exception inside, caught": ("def f():\n    try: return int('x')\n    except ValueError: return 0", "f", (), "0"),
}


@pytest.mark.parametrize("name", CALLS)
def test_value_of_a_function_comes_back_as_json(local: LocalSandbox, name: str) -> None:
    code, function, arguments, expected = CALLS[name]
    outcome = call(local, code, function, *arguments)
    assert (outcome.status, outcome.result) == ("ok", expected), outcome


def test_prelude_brings_what_data_sets_take_for_granted(strongest: LocalSandbox) -> None:
    code = "from __future__ import annotations\ndef f(a: List[int]) -> int: return pow(reduce(gcd, a), 2, 7) + len(Counter(a))"
    assert call(strongest, code, "f", [12, 18], prelude=CONTEST_PRELUDE).result == str(36 % 7 + 2)
    assert call(strongest, code, "f", [12, 18]).status == "runtime_error"


BROKEN_CALLS = {
    "set": ("def f(): return {1}", "TypeError: the function returned set, which JSON cannot hold"),
    "cycle": ("def f():\n    a = []\n    a.append(a)\n    return a", "Circular reference"),
    "missing": ("def g(): return 1", "NameError: the program defines no 'f'"),
    "wrong arguments": ("def f(x): return x", "missing 1 required positional argument"),
    "raises": ("def f(): raise ValueError('bad')", "ValueError: bad"),
    "leaves": ("import os\ndef f(): os._exit(0)", "ended before its function returned"),
    "exits": ("def f(): exit()", "ended before its function returned"),
    "forges something malformed": ("import os\ndef f():\n    os.pwrite(3, b'R[1,', 0)\n    os._exit(0)", "ended before"),
    "forges deep nesting": ("import os\ndef f():\n    os.pwrite(3, b'R' + b'[' * 100000, 0)\n    os._exit(0)", "ended before"),
    "forges bytes": ("import os\ndef f():\n    os.pwrite(3, b'R\"\\xff\"', 0)\n    os._exit(0)", "ended before"),
}


@pytest.mark.parametrize("name", BROKEN_CALLS)
def test_call_without_a_value_is_an_error(local: LocalSandbox, name: str) -> None:
    code, detail = BROKEN_CALLS[name]
    outcome = call(local, code, "f")
    assert (outcome.status, outcome.result) == ("runtime_error", "")
    assert detail in outcome.detail


def test_long_value_is_an_output_limit(local: LocalSandbox) -> None:
    limits = Limits(output_bytes=10_000)
    assert call(local, "def f(): return 'x' * 9998", "f", limits=limits).status == "ok"
    assert call(local, "def f(): return 'x' * 9999", "f", limits=limits).status == "output_limit"


@pytest.mark.parametrize("arguments", ["{}", "[1", "nonsense"])
def test_malformed_arguments_are_the_callers_mistake(strongest: LocalSandbox, arguments: str) -> None:
    with pytest.raises(ValueError, match="must be a JSON list"):
        strongest.run([Job("", function="f", arguments=arguments)], LIMITS)


DOUBLE = "def double(x): return x * 2\ndef fail(x): raise KeyError(x)\nLIMIT = 7\n"
PASSING = {
    "plain": "assert double(2) == 4",
    "check": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate((1,)) == (1, 1)\ncheck(double)",
    "types survive": "assert double((1, 2)) == (1, 2, 1, 2) and double([1]) == [1, 1] and double(b'a') == b'aa'",
    "big and nested": "assert double([{(1, 2): {3}}, 10**30, 1j, None, True, 'é'])[:6] == [{(1, 2): {3}}, 10**30, 1j, None, True, 'é']",
    "exception": "try:\n    fail(3)\nexcept KeyError:\n    pass\nelse:\n    raise AssertionError",
    "constant": "assert LIMIT == 7",
    "imports": "from math import *\nimport math\nassert isclose(double(pi), 2 * math.pi)",
    "unittest": "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(double(1), 2)\nunittest.main()",
    "keyword": "assert double(x=3) == 6",
}
FAILING = {
    "wrong value": "assert double(2) == 5",
    "unittest": "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(double(1), 3)\nunittest.main()",
    "missing": "assert triple(2) == 6",
    "raises": "fail(2)",
    "too slow": "while True: pass",
}


@pytest.mark.parametrize("name", PASSING)
def test_right_solution_passes(local: LocalSandbox, name: str) -> None:
    (outcome,) = local.run([Job(DOUBLE, asserts=PASSING[name])], LIMITS)
    assert (outcome.status, outcome.passed) == ("ok", True), outcome


@pytest.mark.parametrize("name", FAILING)
def test_wrong_solution_fails(local: LocalSandbox, name: str) -> None:
    (outcome,) = local.run([Job(DOUBLE, asserts=FAILING[name])], Limits(cpu_s=0.5))
    assert not outcome.passed
    assert outcome.status == ("timeout" if name == "too slow" else "runtime_error")


def test_objects_stay_in_the_solution(local: LocalSandbox) -> None:
    code = (
        "class Stack:\n    def __init__(self): self.items = []\n"
        "    def push(self, x): self.items.append(x)\n    def pop(self): return self.items.pop()"
    )
    script = (
        "s = Stack()\ns.push((1, 2))\ns.push(3)\nassert s.pop() == 3 and s.items == [(1, 2)]\nt = Stack()\nassert t.items == []"
    )
    (outcome,) = local.run([Job(code, asserts=script)], LIMITS)
    assert outcome.passed, outcome


def test_a_function_may_be_named_like_a_builtin_if_the_job_says_so(strongest: LocalSandbox) -> None:
    job = Job("def sum(a, b): return a + b", function="sum", asserts="assert sum(1, 2) == 3")
    assert strongest.run([job], LIMITS)[0].passed


CHEATS = {
    "equal to everything": "class A:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x): return A()",
    "an int equal to everything": "class A(int):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x): return A(0)",
    "hides builtins": "def f(x): return 0\ndef set(x): return 1\ndef isinstance(*x): return True\ndef all(x): return True",
    "exits": "def f(x): raise SystemExit(0)",
    "exits for real": "import os\ndef f(x): os._exit(0)",
    "never gets there": "import os\nos._exit(0)",
    "ends the loop": "def f(x): raise StopIteration",
    "ends the loop, by a subclass": "class S(StopIteration): pass\nS.__name__ = 'GeneratorExit'\ndef f(x): raise S",
    "writes the report": "import os\nos.write(3, b'P' + b'0' * 32)\ndef f(x): return 0",
    "answers with a builtin": "def f(x): return all",
    "answers by hand": 'import os\ndef f(x):\n    os.write(6, b\'{"value": {"object": 0}}\\n\' * 9)\n    os._exit(0)',
    "answers nonsense": "import os\ndef f(x):\n    os.write(6, b'{\"error\": 5}\\n')\n    os._exit(0)",
    "never ends its answer": "import os\ndef f(x):\n    while True: os.write(6, b'x' * 65536)",
    "looks for the script": (
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        if 'expected' in frame.f_locals: return frame.f_locals['expected'][x - 1]\n        frame = frame.f_back"
    ),
}
CHEATED = """
expected = [1, 4, 9]
assert all(map(lambda pair: f(pair[0]) == pair[1], zip([1, 2, 3], expected)))
assert set([f(1), f(2)]) == set([1, 4]) and isinstance(f(2), int)
"""


def test_the_cheated_script_can_be_passed(strongest: LocalSandbox) -> None:
    assert strongest.run([Job("def f(x): return x * x", asserts=CHEATED)], LIMITS)[0].passed


@pytest.mark.parametrize("name", CHEATS)
def test_cheats_do_not_pass(local: LocalSandbox, name: str) -> None:
    (outcome,) = local.run([Job(CHEATS[name], asserts=CHEATED)], LIMITS)
    assert not outcome.passed
    assert outcome.status in ("runtime_error", "output_limit", "timeout")
