import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from lit_rlvr.rewards import MathReward, Rubric
from lit_rlvr.rewards.verifier import MathVerifier, VerifierError
from lit_rlvr.types import Completion, Prompt, Verdict

SLOW_TO_JUDGE = [("5", r"10^{10^{10}}"), ("5", r"3^{3^{3^{3}}}"), ("x>1", r"x>7^{10^9}"), ("(5, 1)", r"(2^{3^{25}}, 1)")]


def judge(function: MathReward, gold: str, answer: str) -> Verdict:
    return function(Prompt("p1", (), answer=gold), Completion((1,), (0.0,), "stop", text=rf"\boxed{{{answer}}}"))


def worker_ids(parent: int) -> list[int]:
    """Return the processes below the fork server of a process."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
    children: dict[int, list[int]] = {}
    for pid, ppid in zip(map(int, table[::2]), map(int, table[1::2]), strict=True):
        children.setdefault(ppid, []).append(pid)
    return [pid for child in children.get(parent, []) for pid in children.get(child, [])]


def is_running(pid: int) -> bool:
    """Return False for a process that is gone or only waits to be collected."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    function = MathReward(timeout_s=1.0, num_workers=1)
    assert judge(function, "x+1", "1+x").score == 1.0
    yield function
    function.close()


@pytest.mark.parametrize(("gold", "answer"), SLOW_TO_JUDGE)
def test_a_hanging_verifier_is_killed_and_reported_as_an_error(reward: MathReward, gold: str, answer: str) -> None:
    victims = worker_ids(os.getpid())
    start = time.perf_counter()
    verdict = judge(reward, gold, answer)
    elapsed = time.perf_counter() - start
    assert verdict.is_error
    assert verdict.detail.startswith("verifier timed out after 1 s on ")
    assert 1.0 <= elapsed < 4.0
    assert not set(victims) & set(worker_ids(os.getpid())), "the hanging process is still there"
    assert judge(reward, "x+2", "2+x").score == 1.0
    assert judge(reward, "x+2", "3+x").score == 0.0


def test_memory_is_bounded(reward: MathReward) -> None:
    verdict = judge(reward, "(5, 1)", r"(10^{9^{9}} + 10^{8^{9}}, 1)")
    assert verdict.score in (None, 0.0)
    assert judge(reward, "x+2", "2+x").score == 1.0


def test_it_works_from_any_thread(reward: MathReward) -> None:
    verdicts: list[Verdict] = []
    threads = [threading.Thread(target=lambda: verdicts.append(judge(reward, "x+3", "3+x"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert [verdict.score for verdict in verdicts] == [1.0] * 4


def test_a_killed_worker_loses_nothing() -> None:
    function = MathReward(num_workers=2)
    rubric = Rubric({"math": function})
    pairs = [
        (Prompt(f"p{n}", (), answer=f"x+{n}"), Completion((1,), (0.0,), "stop", text=rf"\boxed{{{n + n % 2}+x}}"))
        for n in range(400)
    ]
    others = set(worker_ids(os.getpid()))
    rubric.judge_all(pairs[:2])
    workers = set(worker_ids(os.getpid())) - others
    killer = threading.Timer(0.2, lambda: [os.kill(pid, signal.SIGKILL) for pid in workers])
    killer.start()
    rollouts = rubric.judge_all(pairs)
    assert killer.finished.is_set(), "the workers were killed too late to matter"
    killer.join()
    rubric.close()
    assert workers
    assert not any(map(is_running, workers))
    assert [rollout.reward for rollout in rollouts] == [1.0 - n % 2 for n in range(400)]


def test_a_worker_that_is_dead_before_the_call_is_replaced() -> None:
    verifier = MathVerifier(num_workers=1)
    before = set(worker_ids(os.getpid()))
    assert verifier.equivalent("x+1", "1+x")
    for pid in set(worker_ids(os.getpid())) - before:
        os.kill(pid, signal.SIGKILL)
    assert verifier.equivalent("x+1", "1+x")
    verifier.close()
    assert set(worker_ids(os.getpid())) <= before
    assert verifier.equivalent("x+1", "1+x"), "a closed verifier starts again"
    verifier.close()


def test_a_hanging_worker_ends_itself_when_nobody_is_left_to_kill_it() -> None:
    script = """
if __name__ == "__main__":
    from lit_rlvr.rewards.verifier import MathVerifier
    verifier = MathVerifier(timeout_s=1.0)
    verifier.equivalent("x+1", "1+x")
    print("ready", flush=True)
    verifier.equivalent("5", "10^{10^{10}}")
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        workers = worker_ids(process.pid)
        process.kill()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(map(is_running, workers)):
        time.sleep(0.05)
    assert workers
    assert [pid for pid in workers if is_running(pid)] == []


@pytest.mark.parametrize(
    ("settings", "message"), [({"timeout_s": 0.0}, "timeout_s must be positive"), ({"num_workers": 0}, "num_workers")]
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MathVerifier(**settings)


def test_the_error_names_the_answer() -> None:
    verifier = MathVerifier(timeout_s=0.5, num_workers=1)
    with pytest.raises(VerifierError, match=r"verifier timed out after 0\.5 s on '9\^\{9\^\{9\^\{9\}\}\}'"):
        verifier.equivalent("5", "9^{9^{9^{9}}}")
    verifier.close()
