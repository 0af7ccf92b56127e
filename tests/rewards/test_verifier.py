import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from verifier_processes import are_gone, is_running, judges, send

from lit_rlvr.rewards import MathReward, verifier_worker
from lit_rlvr.rewards.verifier import MathVerifier
from lit_rlvr.rewards.verifier_worker import GaveUpError, VerifierError
from lit_rlvr.sandbox.confinement import landlock
from lit_rlvr.types import Completion, Prompt, Verdict

TOWER = "9^{9^{9^{9}}}"


def judge(function: MathReward, gold: str, answer: str) -> Verdict:
    return function(Prompt("p1", (), answer=gold), Completion((1,), (0.0,), "stop", text=rf"\boxed{{{answer}}}"))


@pytest.fixture
def verifier() -> Iterator[MathVerifier]:
    one = MathVerifier(num_workers=1)
    yield one
    one.close()


def test_an_answer_that_takes_too_much_cpu_time_is_wrong_and_its_process_is_gone() -> None:
    reward = MathReward(cpu_s=0.3, num_workers=1, incorrect_score=-1.0)
    assert judge(reward, "x+1", "1+x").score == 1.0
    victims = judges(reward._verifier)
    assert judge(reward, "5", TOWER) == Verdict(-1.0, f"{TOWER!r}: gave up: took more than 0.3 s of CPU time")
    assert are_gone(victims)
    start = time.perf_counter()
    assert judge(reward, "5", TOWER).score == -1.0, "the second member of a group that gives the answer"
    assert time.perf_counter() - start < 0.1, "is not computed again"
    assert judge(reward, "x+1", "2+x").score == -1.0
    reward.close()


def test_an_answer_that_runs_into_the_clock_twice_is_the_answers_fault() -> None:
    verifier = MathVerifier(cpu_s=60.0, wall_s=1.0, num_workers=1)
    start = time.perf_counter()
    with pytest.raises(GaveUpError, match="took longer than the wall-clock limit"):
        verifier.equivalent("5", TOWER)
    assert time.perf_counter() - start < 8.0
    assert verifier.equivalent("x+1", "1+x")
    verifier.close()


def test_a_process_that_breaks_twice_on_one_answer_only_is_the_answers_fault() -> None:
    verifier = MathVerifier(cpu_s=30.0, wall_s=60.0, num_workers=1)
    assert verifier.equivalent("x+1", "1+x")
    reasons: list[str] = []

    def ask() -> None:
        with pytest.raises(GaveUpError) as raised:
            verifier.equivalent("5", TOWER)
        reasons.append(str(raised.value))

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(2):
        time.sleep(0.5)
        send(signal.SIGSEGV, judges(verifier))
    thread.join(timeout=20)
    verifier.close()
    assert reasons == ["ended the verifier with SIGSEGV"]


def test_processes_that_are_killed_are_an_error_and_never_a_score() -> None:
    reward = MathReward(cpu_s=30.0, wall_s=60.0, num_workers=1)
    judge(reward, "x+1", "1+x")
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(judge(reward, "5", TOWER)))
    thread.start()
    while thread.is_alive():
        time.sleep(0.3)
        send(signal.SIGKILL, judges(reward._verifier))
    assert verdicts == [Verdict(None, f"{TOWER!r}: the verifier failed 3 times: exit code -9; exit code -9; exit code -9")]
    assert judge(reward, "x+1", "1+x").score == 1.0
    reward.close()


def test_a_process_that_stops_answering_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_worker, "GRACE", 0.3)
    slow = MathVerifier(wall_s=1.0, num_workers=1)
    assert slow.equivalent("x+1", "1+x")
    frozen = judges(slow)
    send(signal.SIGSTOP, frozen)
    assert slow.equivalent("x+2", "2+x"), "asked again"
    assert frozen
    assert are_gone(frozen)
    slow.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_has_little_of_everything(verifier: MathVerifier) -> None:
    assert verifier.equivalent("x+1", "1+x")
    (pid,) = judges(verifier)
    limits = {line[:26].strip(): line[26:47].strip() for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]}
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert int(status["VmRSS"].split()[0]) < 150 * 1024, "torch was loaded"
    assert int(limits["Max address space"]) < int(status["VmSize"].split()[0]) * 1024 + 1.2 * 2**30
    assert (limits["Max file size"], limits["Max core file size"], limits["Max processes"]) == ("0", "0", "0")
    if landlock.version():
        assert (status["NoNewPrivs"].strip(), int(status["CapEff"], 16)) == ("1", 0)
    open_files = {os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{pid}/fd")}
    assert open_files <= {"/dev/null", "socket"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_bounded_while_an_answer_asks_for_it(verifier: MathVerifier) -> None:
    assert verifier.equivalent("x+1", "1+x")
    (pid,) = judges(verifier)
    peaks = [0]

    def watch() -> None:
        while is_running(pid):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            peaks.extend(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(GaveUpError):
        verifier.equivalent("5", r"\gcd(3^{10^9}, 2^{10^9})")
    watcher.join(timeout=10)
    assert 2**16 < max(peaks) < 2**20, "KiB"


def test_a_verifier_that_cannot_start_is_an_error_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    verifier = MathVerifier(num_workers=1)
    with pytest.raises(VerifierError, match="did not start: ModuleNotFoundError: No module named 'math_verify'"):
        verifier.equivalent("x+1", "1+x")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"cpu_s": 0.0}, "cpu_s and wall_s"), ({"wall_s": -1.0}, "cpu_s and wall_s"), ({"num_workers": 0}, "num_workers")],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MathVerifier(**settings)
    with pytest.raises(ValueError, match=message):
        MathReward(**settings)
