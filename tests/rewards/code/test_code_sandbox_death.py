import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from code_samples import LIMITS, RIGHT, completion, prompt

from lit_rlvr.rewards import CodeReward
from lit_rlvr.sandbox import Limits, LocalSandbox


def children() -> set[int]:
    """Return the processes that this one has started."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def kill_all(processes: set[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def test_a_sandbox_that_was_killed_is_started_again() -> None:
    before = children()
    reward = CodeReward(sandbox=LocalSandbox(num_workers=1), limits=LIMITS)
    try:
        assert reward(prompt(), completion(RIGHT)).score == 1.0
        assert children() - before
        kill_all(children() - before)
        assert reward(prompt(), completion(RIGHT + "  # again")).score == 1.0
        assert reward(prompt(), completion("print('no')")).score == 0.0
    finally:
        reward.close()


def test_a_sandbox_that_dies_over_and_over_gives_an_error_and_never_a_score() -> None:
    before = children()
    reward = CodeReward(incorrect_score=-1, sandbox=LocalSandbox(num_workers=1), limits=Limits(cpu_s=2.0, wall_s=6.0))
    slow = completion("import time\ntime.sleep(1.5)\na, b = map(int, input().split())\nprint(a + b)")
    try:
        assert reward(prompt(), completion(RIGHT)).score == 1.0
        with ThreadPoolExecutor(1) as thread:
            verdict = thread.submit(reward, prompt(), slow)
            while not verdict.done():
                time.sleep(0.3)
                kill_all(children() - before)
        assert verdict.result().score is None
        assert "could not be judged" in verdict.result().detail
        assert reward(prompt(), completion(RIGHT + "  # again")).score == 1.0
    finally:
        reward.close()
