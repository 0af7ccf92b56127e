"""Processes of the verifier that come and go: killed, closed, replaced, left alone, asked from many threads."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from verifier_processes import are_gone, children, judges, keepers, send

from lit_rlvr.rewards import MathReward, Rubric, verifier_worker
from lit_rlvr.rewards.verifier import MathVerifier
from lit_rlvr.types import Completion, Prompt

TOWER = "9^{9^{9^{9}}}"


@pytest.fixture
def verifier() -> Iterator[MathVerifier]:
    one = MathVerifier(num_workers=1)
    yield one
    one.close()


def test_a_killed_process_loses_nothing() -> None:
    function = MathReward(num_workers=2)
    rubric = Rubric({"math": function})
    pairs = [
        (Prompt(f"p{n}", (), answer=f"x+{n}"), Completion((1,), (0.0,), "stop", text=rf"\boxed{{{n + n % 2}+x}}"))
        for n in range(400)
    ]
    rubric.judge_all(pairs[:2])
    victims = [*judges(function._verifier), *keepers(function._verifier)[:1]]
    killer = threading.Timer(0.2, lambda: send(signal.SIGKILL, victims))
    killer.start()
    rollouts = rubric.judge_all(pairs)
    assert killer.finished.is_set(), "the processes were killed too late to matter"
    killer.join()
    rubric.close()
    assert len(victims) >= 2
    assert are_gone(victims)
    assert [rollout.reward for rollout in rollouts] == [1.0 - n % 2 for n in range(400)]


def test_a_process_that_is_dead_before_the_call_is_replaced(verifier: MathVerifier) -> None:
    assert verifier.equivalent("x+1", "1+x")
    for number, chosen in enumerate((judges, keepers, judges)):
        victims = chosen(verifier)
        assert len(victims) == 1
        last = judges(verifier)
        send(signal.SIGKILL, victims)
        assert are_gone([*victims, *last]), "a judge ends with its keeper"
        assert verifier.equivalent(f"x+{number + 2}", f"{number + 2}+x")


def test_a_closed_verifier_leaves_nothing_and_starts_again(verifier: MathVerifier) -> None:
    assert verifier.equivalent("x+1", "1+x")
    running = [*keepers(verifier), *judges(verifier)]
    verifier.close()
    assert len(running) == 2
    assert are_gone(running)
    assert verifier.equivalent("x+2", "2+x")


def test_a_process_is_replaced_after_its_pairs(verifier: MathVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_worker, "PAIRS_PER_PROCESS", 3)
    seen = set()
    for n in range(8):
        assert verifier.equivalent(f"x+{n}", f"{n}+x")
        seen.update(judges(verifier))
    assert len(seen) >= 3


def test_it_works_from_many_threads_at_once() -> None:
    verifier = MathVerifier(num_workers=2)
    outcomes: dict[int, bool] = {}

    def ask(number: int) -> None:
        for n in range(number, 60, 6):
            outcomes[n] = verifier.equivalent(f"x+{n}", f"{n + n % 3}+x")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert outcomes == {n: n % 3 == 0 for n in range(60)}
    assert len(judges(verifier)) == 2
    verifier.close()


def test_a_hanging_process_ends_itself_when_nobody_is_left_to_kill_it() -> None:
    # no guard against being imported: unlike multiprocessing's, these processes never load the script
    script = f"""
from lit_rlvr.rewards.verifier import MathVerifier
verifier = MathVerifier(cpu_s=1.0, num_workers=1)
verifier.equivalent("x+1", "1+x")
print("ready", flush=True)
verifier.equivalent("5", {TOWER!r})
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (keeper,) = children(process.pid)
        running = [keeper, *children(keeper)]
        process.kill()
    assert len(running) == 2
    assert are_gone(running, within_s=20.0)
