"""The pool: threads that share it, zygotes that die, processes that end, other users."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from process_tree import descendants, wait_until_gone, zygotes

from lit_rlvr.sandbox import Job, Limits, LocalSandbox, Outcome

LIMITS = Limits(cpu_s=2.0, wall_s=30.0)
DOUBLE = "print(2 * int(input()))"
SLEEP = "import time\ntime.sleep(60)"


def doubled(sandbox: LocalSandbox, numbers: range) -> list[bytes]:
    outcomes = sandbox.run([Job(DOUBLE, str(n).encode()) for n in numbers], LIMITS)
    assert {outcome.status for outcome in outcomes} <= {"ok"}, outcomes
    return [outcome.stdout for outcome in outcomes]


def answers(numbers: range) -> list[bytes]:
    return [b"%d\n" % (2 * n) for n in numbers]


def in_background(sandbox: LocalSandbox, jobs: list[Job]) -> tuple[threading.Thread, list[Outcome]]:
    """Run jobs in a thread; return when their programs are running."""
    outcomes: list[Outcome] = []
    before = zygotes()
    thread = threading.Thread(target=lambda: outcomes.extend(sandbox.run(jobs, LIMITS)))
    thread.start()
    deadline = time.monotonic() + 20
    while len(zygotes()) < len(before) + len(jobs) and time.monotonic() < deadline:
        time.sleep(0.01)
    return thread, outcomes


def test_eight_threads_share_two_workers(local: LocalSandbox) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda i: doubled(local, range(10 * i, 10 * i + 10)), range(8)))
    assert found == [answers(range(10 * i, 10 * i + 10)) for i in range(8)]


def test_no_jobs(strongest: LocalSandbox) -> None:
    assert strongest.run([], LIMITS) == []


def test_two_hundred_programs_leave_nothing_behind(local: LocalSandbox) -> None:
    doubled(local, range(20))
    descriptors, processes = len(os.listdir("/proc/self/fd")), zygotes()
    per_zygote = {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in processes}
    hostile = [
        Job(code) for code in ("import os\nos.abort()", "print('x' * 2000000)", "import os\nos.fork()", "x = ' ' * 10**10")
    ]
    for start in range(0, 200, 20):
        doubled(local, range(start, start + 16))
        assert not {"ok", "infra"} & {outcome.status for outcome in local.run(hostile[:1] + hostile[3:], LIMITS)}
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert zygotes() == processes
    assert {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in processes} == per_zygote


def test_killed_zygote_costs_no_verdict(local: LocalSandbox) -> None:
    doubled(local, range(4))
    before = zygotes()
    thread, outcomes = in_background(local, [Job("import time\ntime.sleep(0.5)\nprint(7)")] * 2)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    thread.join()
    assert [(outcome.status, outcome.stdout) for outcome in outcomes] == [("ok", b"7\n")] * 2
    assert wait_until_gone(before) == set()
    assert doubled(local, range(4)) == answers(range(4))


def test_zygote_that_dies_twice_is_no_verdict() -> None:
    sandbox = LocalSandbox(num_workers=1)
    doubled(sandbox, range(1))
    thread, outcomes = in_background(sandbox, [Job(SLEEP)])
    deadline = time.monotonic() + 30
    while thread.is_alive() and time.monotonic() < deadline:
        for pid in sorted(zygotes()):  # the program last: killed before its zygote, it would have ended by a signal
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    thread.join()
    assert [outcome.status for outcome in outcomes] == ["infra"]
    assert outcomes[0].detail
    assert doubled(sandbox, range(2)) == answers(range(2))
    sandbox.close()


def test_close_ends_every_process_and_run_starts_new_ones() -> None:
    sandbox = LocalSandbox(num_workers=2)
    before = zygotes()
    doubled(sandbox, range(8))
    started = zygotes() - before
    assert started
    sandbox.close()
    assert wait_until_gone(started) == set()
    sandbox.close()
    assert doubled(sandbox, range(2)) == answers(range(2))
    sandbox.close()


def test_forgotten_sandbox_ends_its_processes() -> None:
    before = zygotes()
    sandbox = LocalSandbox(num_workers=1)
    doubled(sandbox, range(1))
    started = zygotes() - before
    del sandbox
    assert wait_until_gone(started) == set()


SCRIPT = """
import sys, threading
from lit_rlvr.sandbox import Job, Limits, LocalSandbox
sandbox = LocalSandbox(num_workers=2, isolation=sys.argv[1])
thread = threading.Thread(target=sandbox.run, args=([Job("print(1)")], Limits()))  # ends before its zygote does
thread.start(); thread.join()
print(sandbox.run([Job("print(2 * int(input()))", b"21")], Limits())[0].stdout.decode().strip(), sandbox.start(), flush=True)
if sys.argv[2:]:
    sandbox.run([Job("import time; time.sleep(60)")] * 2, Limits(wall_s=90))
"""


@pytest.mark.parametrize("isolation", ["namespaces", "landlock", "seccomp"])
def test_killed_trainer_takes_its_programs_along(isolation: str) -> None:
    trainer = subprocess.Popen([sys.executable, "-c", SCRIPT, isolation, "sleep"], stdout=subprocess.PIPE)
    try:
        assert trainer.stdout is not None
        assert trainer.stdout.readline().startswith(b"42")
        time.sleep(0.3)
        below = descendants(trainer.pid)
        assert len(below) >= 2
    finally:
        trainer.kill()
        trainer.wait()
        trainer.stdout.close()
    assert wait_until_gone(below) == set()


def test_another_user_gets_the_same_isolation() -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, with setpriv")
    interpreter = _interpreter_for_everybody()
    paths = [str(Path(__file__).parents[2]), *(path for path in sys.path if path.endswith("site-packages"))]
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", f"PYTHONPATH={':'.join(paths)}"]
    for isolation in ("strongest", "landlock", "seccomp"):
        command = [*as_nobody, interpreter, "-c", SCRIPT, isolation]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/", check=False)
        if "cannot confine" in found.stderr:
            pytest.skip(found.stderr.splitlines()[-1])
        assert found.stdout.startswith("42 "), found.stderr


def _interpreter_for_everybody() -> str:
    """Return an interpreter that a user without any rights can start; skip if there is none of this version."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", path, "-c", "import ssl"]
        if os.path.exists(path) and subprocess.run(command, capture_output=True, cwd="/", check=False).returncode == 0:
            return path
    pytest.skip(f"no {version} here that every user can start")


def test_none_warns_at_every_start(caplog: pytest.LogCaptureFixture) -> None:
    sandbox = LocalSandbox(num_workers=1, isolation="none")
    for start in (1, 2):
        with caplog.at_level(logging.WARNING):
            doubled(sandbox, range(2))
        assert sum("not isolated" in record.message for record in caplog.records) == start
        sandbox.close()


@pytest.mark.parametrize(("arguments", "words"), [({"num_workers": 0}, "num_workers"), ({"preload": ["no_such"]}, "no_such")])
def test_mistakes_are_named(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LocalSandbox(**arguments)
