import re

import pytest
from code_samples import HALF, LIMITS, RIGHT, completion, prompt

from lit_rlvr.rewards import CodeReward
from lit_rlvr.sandbox import LocalSandbox
from lit_rlvr.types import Verdict


@pytest.mark.parametrize(
    "program",
    [
        RIGHT,
        "import sys\na, b = map(int, sys.stdin.read().split())\nsys.stdout.write(str(a + b))",
        "import sys\nprint(sum(map(int, sys.stdin.readline().split())))",
        "import sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())))",
        "print(sum(map(int, open(0).read().split())))",
        "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))",
        "import os\nprint(sum(map(int, os.read(0, 100).split())))",
        "def main():\n    print(sum(map(int, input().split())))\n\nif __name__ == '__main__':\n    main()",
        "import sys\nprint(sum(map(int, input().split())))\nsys.exit(0)",
        "import sys\nprint('thinking', file=sys.stderr)\nprint(sum(map(int, input().split())), end='\\r\\n\\r\\n')",
    ],
)
def test_a_correct_program_is_paid_in_full(sandbox: LocalSandbox, program: str) -> None:
    verdict = CodeReward(sandbox=sandbox, limits=LIMITS)(prompt(), completion(program))
    assert verdict == Verdict(1.0, "4 of 4 tests passed")


@pytest.mark.parametrize(
    ("program", "passed", "why"),
    [
        ("a, b = map(int, input().split())\nprint(a - b)", 0, r"input '1 2\\n': expected '3\\n', got '-1\\n'"),
        (HALF, 2, r"test 2: input '4 5\\n': expected '9\\n', got 'many\\n'"),
        ("print(3)", 1, "test 2: input"),
        ("while True: pass", 0, "test 1: timeout"),
        ("import time\ntime.sleep(60)", 0, "test 1: timeout"),
        (f"{RIGHT}\nif a > 3:\n    while True: pass", 1, "test 2: timeout"),
        ("print('x' * 10_000_000)", 0, "test 1: output_limit"),
        ("x = bytearray(4 * 1024 ** 3)\nprint(len(x))", 0, "test 1: "),
        ("import sys\nsys.stdout.buffer.write(b'\\xff\\xfe3\\n')", 0, r"got '\\\\xff\\\\xfe3\\n'"),
        ("print('\\x1b[2J\\u202e3')", 0, r"got '\\x1b\[2J\\u202e3\\n'"),
        (f"{RIGHT}\nraise ValueError('late')", 0, "test 1: runtime_error"),
        (f"{RIGHT}\nimport sys\nsys.exit(3)", 0, "test 1: runtime_error"),
        ("import os\nos._exit(0)", 0, "expected '3"),
        ("this is not Python", 0, "test 1: runtime_error"),
        ("print('3\\n9\\n0\\n30')", 0, "expected '3"),
        ("import builtins\nbuiltins.sum = lambda x: 3\nprint(sum([]))", 1, "test 2: "),
        ("from fractions import Fraction\nprint('3' if False else 'True')", 0, "expected '3"),
        ("import sys\nsys.setrecursionlimit(10**6)\ndef f(): f()\nf()", 0, "test 1: "),
    ],
)
def test_a_wrong_program_is_paid_for_what_it_passes(sandbox: LocalSandbox, program: str, passed: int, why: str) -> None:
    row, answer = prompt(), completion(program)
    reward = CodeReward(partial_credit=True, max_timeouts=1, sandbox=sandbox, limits=LIMITS)
    soft = reward(row, answer)
    assert soft.score == pytest.approx(passed / 4)
    assert soft.detail.startswith(f"{passed} of 4 tests passed. ")
    assert re.search(why, soft.detail), soft.detail
    assert len(soft.detail) < 600
    assert soft.detail.isprintable()
    reward.partial_credit = False
    assert reward(row, answer).score == 0.0


CALLS = {"inputs": [[[1, 2], 3], [[], 0], [[5], -5]], "outputs": [6, 0, 0], "fn_name": "total"}


@pytest.mark.parametrize(
    ("program", "passed"),
    [
        ("def total(items, more):\n    return sum(items) + more", 3),
        ("class Solution:\n    def total(self, items: List[int], more: int) -> int:\n        return sum(items) + more", 3),
        ("from __future__ import annotations\ndef total(items: X, more):\n    return sum(items) + more", 3),
        ("def total(items, more):\n    return float(sum(items) + more)", 3),
        ("def total(items, more):\n    print(6)\n    return str(sum(items) + more)", 0),
        ("def total(items, more):\n    return bool(items)", 0),
        ("def total(items, more):\n    return None", 0),
        ("def total(items, more):\n    return 0", 2),
        ("class Equal(int):\n    def __eq__(self, other): return True\ndef total(items, more):\n    return Equal(1)", 0),
        ("class Equal:\n    def __eq__(self, other): return True\ndef total(items, more):\n    return Equal()", 0),
        ("import os\ndef total(items, more):\n    os._exit(0)", 0),
        ("import sys\nsys.exit(0)", 0),
        ("import json\njson.dumps = lambda *a, **k: '6'\ndef total(items, more):\n    return 'x'", 1),
        ("def other(items, more):\n    return 6", 0),
        ("def total(items, more):\n    return total(items, more)", 0),
        ("def total(items, more):\n    while True: pass", 0),
    ],
)
def test_functions_are_called_and_judged_outside(sandbox: LocalSandbox, program: str, passed: int) -> None:
    verdict = CodeReward(partial_credit=True, sandbox=sandbox, limits=LIMITS)(prompt(CALLS), completion(program))
    assert verdict.score == pytest.approx(passed / 3), verdict.detail


def test_named_arguments_and_tuples(sandbox: LocalSandbox) -> None:
    script = "def check(candidate):\n    assert candidate(n=2, text='ab') == ('abab', 4)\ncheck(Solution().repeat)"
    reward = CodeReward(sandbox=sandbox, limits=LIMITS)
    right = "class Solution:\n    def repeat(self, text, n):\n        return text * n, len(text) * n"
    assert reward(prompt({"functional": script}), completion(right)).score == 1.0
    assert reward(prompt({"functional": script}), completion(right.replace("text, n", "text, m"))).score == 0.0


ASSERTS = "import math\nassert math.isclose(root(2.0), 1.41421356, rel_tol=1e-6)\nassert root(0) < 1e-9\nassert not root(1) > 2"


@pytest.mark.parametrize(
    ("program", "passed"),
    [
        ("def root(x):\n    return x ** 0.5", 3),
        ("import math\ndef root(x):\n    return math.sqrt(x)", 3),
        ("def root(x):\n    return x / 2", 2),
        ("def root(x):\n    return -1.0", 2),
        ("def root(x):\n    raise ValueError", 0),
        ("import sys\nsys.exit(0)", 0),
        ("import os\nos._exit(0)", 0),
        ("def root(x):\n    import sys\n    sys.exit(0)", 0),
        ("def root(x):\n    import os\n    os._exit(0)", 0),
        (
            "class Always(float):\n    def __lt__(self, other): return True\n    def __gt__(self, other): return False\n"
            "    def __float__(self): return 1.41421356\ndef root(x):\n    return Always(9.0)",
            0,
        ),
        (
            "import math, builtins\nmath.isclose = lambda *a, **k: True\nbuiltins.AssertionError = BaseException\ndef root(x): return 9.0",
            0,
        ),
        ("import sys\ndef root(x):\n    sys._getframe(1).f_globals['math'] = None\n    return 9.0", 0),
        (
            "import gc\ndef root(x):\n    [o.clear() for o in gc.get_objects() if type(o) is dict and 'math' in o]\n    return 9.0",
            0,
        ),
        ("print('passed')\nprint('ok')", 0),
    ],
)
def test_assertions_cannot_be_talked_round(sandbox: LocalSandbox, program: str, passed: int) -> None:
    verdict = CodeReward(partial_credit=True, sandbox=sandbox, limits=LIMITS)(prompt(ASSERTS), completion(program))
    assert verdict.score == pytest.approx(passed / 3), verdict.detail


PYTEST = """
import pytest
from solution import root

def test_value():
    assert root(2.0) == pytest.approx(1.41421356237)
    assert root(4) == 2

def test_error():
    with pytest.raises(ValueError, match="negative"):
        root(-1)
"""


@pytest.mark.parametrize(
    ("program", "passed"),
    [
        ("def root(x):\n    if x < 0:\n        raise ValueError('negative')\n    return x ** 0.5", 3),
        ("def root(x):\n    if x < 0:\n        raise ValueError('below 0')\n    return x ** 0.5", 2),
        ("def root(x):\n    if x < 0:\n        raise KeyError('negative')\n    return x ** 0.5", 2),
        ("def root(x):\n    return abs(x) ** 0.5 + 1e-3", 0),
        ("import os\ndef root(x):\n    os._exit(0)", 0),
    ],
)
def test_files_for_pytest_run_without_it(sandbox: LocalSandbox, program: str, passed: int) -> None:
    verdict = CodeReward(partial_credit=True, sandbox=sandbox, limits=LIMITS)(prompt(PYTEST), completion(program))
    assert verdict.score == pytest.approx(passed / 3), verdict.detail
