"""Programs that read standard input and print, in every isolation."""

import time

import pytest

from lit_rlvr.sandbox import Job, Limits, LocalSandbox, Outcome

LIMITS = Limits(cpu_s=2.0, wall_s=20.0, memory_mb=256)


def run(sandbox: LocalSandbox, code: str, stdin: bytes = b"", limits: Limits = LIMITS) -> Outcome:
    (outcome,) = sandbox.run([Job(code, stdin)], limits)
    return outcome


READERS = {
    "input": "print(int(input()) + int(input()))",
    "stdin": "import sys\nprint(sum(int(line) for line in sys.stdin))",
    "read": "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
    "readline": "import sys\nr = sys.stdin.readline\nprint(int(r()) + int(r()))",
    "buffer": "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))",
    "open(0)": "print(sum(map(int, open(0).read().split())))",
    "open(0) in bytes": "print(sum(map(int, open(0, 'rb').readlines())))",
    "/dev/stdin": "print(sum(map(int, open('/dev/stdin'))))",
    "pathlib": "import pathlib\nprint(sum(map(int, pathlib.Path('/dev/stdin').read_text().split())))",
    "os.read": "import os\nprint(sum(map(int, os.read(0, os.fstat(0).st_size).split())))",
    "fileinput": "import fileinput\nprint(sum(map(int, fileinput.input())))",
    "mode": "import sys\nassert sys.stdin.mode == 'r' and sys.stdin.fileno() == 0 and not sys.stdin.isatty()\nprint(42)",
}


@pytest.mark.parametrize("way", READERS)
def test_reads_standard_input(local: LocalSandbox, way: str) -> None:
    outcome = run(local, READERS[way], b"40\n2\n")
    assert (outcome.status, outcome.stdout, outcome.detail) == ("ok", b"42\n", "")


ENDINGS = {
    "sys.exit()": ("import sys\nsys.exit()", "ok", ""),
    "exit(0)": ("exit(0)", "ok", ""),
    "sys.exit(3)": ("import sys\nsys.exit(3)", "runtime_error", "exit code 3"),
    "sys.exit(text)": ("import sys\nsys.exit('no')", "runtime_error", "exit code 1: SystemExit: no"),
    "os._exit(7)": ("import os\nos._exit(7)", "runtime_error", "exit code 7"),
    "exception": ("1 / 0", "runtime_error", "exit code 1: ZeroDivisionError: division by zero"),
    "syntax": ("def", "runtime_error", "exit code 1: SyntaxError: invalid syntax (main.py, line 1)"),
    "abort": ("import os\nos.abort()", "runtime_error", "killed by SIGABRT"),
    "end of input": ("input()", "runtime_error", "exit code 1: EOFError: EOF when reading a line"),
    "control characters": (
        "raise ValueError('\\x1b[31m\\n\\u202e')",
        "runtime_error",
        r"exit code 1: ValueError: \x1b[31m\n\u202e",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_exit_code_decides(local: LocalSandbox, ending: str) -> None:
    code, status, detail = ENDINGS[ending]
    outcome = run(local, code)
    assert (outcome.status, outcome.detail) == (status, detail)


def test_traceback_shows_the_program_and_nothing_of_the_sandbox(local: LocalSandbox) -> None:
    outcome = run(local, "def f():\n    raise KeyError('here')\nprint('before')\nf()\n")
    assert outcome.stdout == b"before\n"
    assert outcome.stderr.decode().splitlines() == [
        "Traceback (most recent call last):",
        '  File "main.py", line 4, in <module>',
        "    f()",
        '  File "main.py", line 2, in f',
        "    raise KeyError('here')",
        "KeyError: 'here'",
    ]


HONEST = {
    "unicode": ("print(input()[::-1])", "☃é\n".encode(), "é☃\n".encode()),
    "no input": ("print('x', end='')", b"", b"x"),
    "exit handler": ("import atexit\natexit.register(print, 'bye')\nprint('hello')", b"", b"hello\nbye\n"),
    "thread that outlives the main one": (
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()\nprint('first')",
        b"",
        b"first\nlate\n",
    ),
    "daemon thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=[99], daemon=True).start()\nprint(1)",
        b"",
        b"1\n",
    ),
    "recursion in a thread": (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 27)\n"
        "def depth(n): return n and 1 + depth(n - 1)\nt = threading.Thread(target=lambda: print(depth(50000)))\nt.start(); t.join()",
        b"",
        b"50000\n",
    ),
    "recursion through C": (
        "import functools, resource, sys\nsys.setrecursionlimit(10**6)\n"
        "resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "@functools.lru_cache(None)\ndef depth(n): return n and 1 + depth(n - 1)\nprint(depth(50000))",
        b"",
        b"50000\n",
    ),
    "pickle of a class": (
        "import pickle\nclass A:\n    x = 1\nprint(__name__, pickle.loads(pickle.dumps(A())).x)",
        b"",
        b"__main__ 1\n",
    ),
    "memory error caught": ("try:\n    bytearray(1 << 40)\nexcept MemoryError:\n    print('caught')", b"", b"caught\n"),
    "80 MB": ("a = [0] * 10**7\nprint(len(a))", b"", b"10000000\n"),
    "null device": ("import os, sys\nsys.stderr = open(os.devnull, 'w')\nprint('x', file=sys.stderr)\nprint(2)", b"", b"2\n"),
    "asyncio": ("import asyncio\nasync def f(): return 5\nprint(asyncio.run(f()))", b"", b"5\n"),
    "numpy": ("import numpy as np\nprint(int(np.linalg.det(np.eye(3))), np.random.rand(2).shape)", b"", b"1 (2,)\n"),
    "signal handlers": (
        "import signal\nsignal.signal(signal.SIGTERM, print)\nsignal.raise_signal(signal.SIGTERM)\nprint(3)",
        b"",
        None,
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_programs_work(local: LocalSandbox, name: str) -> None:
    code, stdin, expected = HONEST[name]
    outcome = run(local, code, stdin)
    assert outcome.status == "ok", outcome
    assert expected is None or outcome.stdout == expected


@pytest.mark.parametrize("module", ["random", "numpy.random"])
def test_random_numbers_differ_between_runs(strongest: LocalSandbox, module: str) -> None:
    outcomes = strongest.run([Job(f"import {module}\nprint({module}.random())")] * 4, LIMITS)
    assert len({outcome.stdout for outcome in outcomes}) == 4


def test_loop_ends_at_the_cpu_limit(local: LocalSandbox) -> None:
    outcome = run(local, "while True: pass", limits=Limits(cpu_s=0.3, wall_s=30.0))
    assert outcome.status == "timeout"
    assert 0.3 <= outcome.cpu_s < 0.5
    assert "CPU seconds used of 0.3" in outcome.detail


def test_sleeper_ends_at_the_wall_limit(local: LocalSandbox) -> None:
    started = time.monotonic()
    outcome = run(local, "print('a', flush=True)\nimport time\ntime.sleep(60)", limits=Limits(wall_s=0.5))
    assert (outcome.status, outcome.stdout) == ("timeout", b"a\n")
    assert outcome.cpu_s < 0.3
    assert time.monotonic() - started < 10
    assert "on the clock" in outcome.detail


@pytest.mark.parametrize("code", ["x = bytearray(1 << 32)", "x = []\nwhile True: x.append(' ' * 1000000)", "x = 'a' * (10**9)"])
def test_memory_ends_at_its_limit(local: LocalSandbox, code: str) -> None:
    assert run(local, code).status == "memory"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_ends_at_its_limit(local: LocalSandbox, stream: str) -> None:
    limits = Limits(output_bytes=100_000, stderr_bytes=1000)
    outcome = run(local, f"import sys\nwhile True: sys.{stream}.write('y' * 999)", limits=limits)
    assert outcome.status == "output_limit"
    assert len(outcome.stdout) == (100_000 if stream == "stdout" else 0)
    assert len(outcome.stderr) <= 1000


def test_output_of_exactly_the_limit_is_fine(local: LocalSandbox) -> None:
    limits = Limits(output_bytes=10_000)
    assert run(local, "print('y' * 9999)", limits=limits).status == "ok"
    assert run(local, "print('y' * 10000)", limits=limits).status == "output_limit"


def test_end_of_standard_error_is_kept(local: LocalSandbox) -> None:
    outcome = run(local, "import sys\nfor i in range(1000): print(i, file=sys.stderr)", limits=Limits(stderr_bytes=8))
    assert (outcome.status, outcome.stderr) == ("ok", b"998\n999\n")


@pytest.mark.parametrize("code", ["print('\ud800')", "print(1)\0", "#" * 300_000])
def test_what_is_no_program_is_rejected(strongest: LocalSandbox, code: str) -> None:
    outcome = run(strongest, code)
    assert outcome.status == "rejected"
    assert outcome.detail


def test_environment_and_library_are_bare(local: LocalSandbox) -> None:
    code = "import os, sys\nprint(dict(os.environ), sys.argv, [m for m in sys.modules if 'rlvr' in m], os.getcwd())"
    assert run(local, code).stdout == b"{} ['main.py'] [] /\n"
