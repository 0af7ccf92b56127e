"""The verifier in processes that were started in every way there is, with a verifier already running in their parent."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from lit_rlvr.rewards import MathReward
from lit_rlvr.types import Completion, Prompt

METHODS = ["fork", "spawn", "forkserver"]


def judged(reward: MathReward, gold: str, answer: str) -> float | None:
    return reward(Prompt("p1", (), answer=gold), Completion((1,), (0.0,), "stop", text=rf"\boxed{{{answer}}}")).score


def judge_into(queue: multiprocessing.Queue, reward: MathReward) -> None:
    queue.put([judged(reward, "x+5", "5+x"), judged(reward, "x+5", "6+x")])
    reward.close()


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    function = MathReward(num_workers=1)
    assert judged(function, "x+1", "1+x") == 1.0
    yield function
    function.close()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("daemon", [False, True])
def test_in_a_child_process(reward: MathReward, method: str, daemon: bool) -> None:
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=judge_into, args=(queue, reward), daemon=daemon)
    child.start()
    assert queue.get(timeout=60) == [1.0, 0.0]
    child.join(timeout=30)
    assert child.exitcode == 0
    assert judged(reward, "x+2", "2+x") == 1.0, "the parent's goes on"


def test_in_a_child_that_was_forked_while_a_pair_was_judged(reward: MathReward) -> None:
    worker = reward._verifier._idle.get()  # as a thread does that waits for its pair
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=judge_into, args=(queue, reward))
    child.start()
    assert queue.get(timeout=60) == [1.0, 0.0]
    child.join(timeout=30)
    reward._verifier._idle.put(worker)


def test_in_a_pool_of_processes(reward: MathReward) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        scores = list(pool.map(judged, [reward] * 4, ["x+1"] * 4, ["1+x", "x+2", "x", "x+1"]))
    assert scores == [1.0, 0.0, 0.0, 1.0]
