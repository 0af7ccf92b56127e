import threading
import time

import pytest

from lit_rlvr.rewards import RewardFunction, Rubric
from lit_rlvr.types import Completion, Prompt, Verdict


class Scripted(RewardFunction):
    """Returns what the prompt's metadata says, after the seconds it says."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.closed = 0

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict | float:
        time.sleep(prompt.metadata.get("seconds", 0.0))
        outcome = prompt.metadata[self.key]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self) -> None:
        self.closed += 1


def pair(name: str = "p1", **metadata: object) -> tuple[Prompt, Completion]:
    return Prompt(name, (), metadata=metadata), Completion((1, 2), (0.0, 0.0), "stop", text="72")


def test_the_reward_is_the_weighted_sum_in_order() -> None:
    rubric = Rubric({"a": Scripted("a"), "b": Scripted("b"), "c": Scripted("c")}, weights={"b": -0.5, "c": 0.0})
    rollout = rubric.judge(*pair(a=1.0, b=Verdict(3.0, "why"), c=100.0))
    assert rollout.reward == pytest.approx(1.0 - 1.5)
    assert list(rollout.verdicts) == ["a", "b", "c"]
    assert rollout.verdicts["b"] == Verdict(3.0, "why")
    assert rollout.verdicts["c"] == Verdict(100.0)
    assert (rollout.prompt.id, rollout.completion.text) == ("p1", "72")


@pytest.mark.parametrize(
    ("accuracy", "a", "b", "is_correct"), [(None, 1.0, 0.0, True), (None, 0.99, 5.0, False), ("b", 0.0, 1.0, True)]
)
def test_the_accuracy_function_decides_what_is_correct(accuracy: str | None, a: float, b: float, is_correct: bool) -> None:
    rubric = Rubric({"a": Scripted("a"), "b": Scripted("b")}, accuracy=accuracy, weights={"b": 0.0})
    assert rubric.judge(*pair(a=a, b=b)).is_correct is is_correct


def test_the_full_score_is_a_setting() -> None:
    rubric = Rubric({"a": Scripted("a")}, full_score=2.0)
    assert [rubric.judge(*pair(a=score)).is_correct for score in (1.0, 2.0, 3.0)] == [False, True, True]


def test_an_error_that_counts_leaves_no_reward() -> None:
    rubric = Rubric({"a": Scripted("a"), "b": Scripted("b")}, weights={"b": 0.0})
    failed = rubric.judge(*pair(a=Verdict(None, "crashed"), b=1.0))
    assert failed.reward is None
    assert failed.is_correct is False
    assert failed.verdicts["a"].detail == "crashed"
    assert rubric.judge(*pair(a=1.0, b=Verdict(None, "crashed"))).reward == 1.0


@pytest.mark.parametrize("outcome", [float("nan"), float("inf"), -float("inf"), Verdict(float("nan")), None, "1.0", [1.0]])
def test_what_is_no_finite_number_is_refused_by_name(outcome: object) -> None:
    rubric = Rubric({"good": Scripted("a"), "broken": Scripted("b")})
    with pytest.raises(ValueError, match=r"reward function 'broken' returned .* on prompt 'p7'"):
        rubric.judge(*pair("p7", a=1.0, b=outcome))


@pytest.mark.parametrize("count", [1, 5])
def test_an_exception_carries_the_function_and_the_prompt(count: int) -> None:
    rubric = Rubric({"broken": Scripted("a")})
    with pytest.raises(KeyError, match="boom") as caught:
        rubric.judge_all([pair(f"p{index}", a=KeyError("boom")) for index in range(count)])
    assert caught.value.__notes__ == ["raised by the reward function 'broken' on prompt 'p0'"]


def test_slow_functions_overlap_and_the_order_is_kept() -> None:
    rubric = Rubric({"a": Scripted("a")}, num_threads=8)
    pairs = [pair(f"p{index}", a=float(index), seconds=0.3 if index % 2 == 0 else 0.0) for index in range(16)]
    start = time.perf_counter()
    rollouts = rubric.judge_all(pairs)
    elapsed = time.perf_counter() - start
    assert [rollout.reward for rollout in rollouts] == [float(index) for index in range(16)]
    assert [rollout.prompt.id for rollout in rollouts] == [f"p{index}" for index in range(16)]
    assert elapsed < 1.5, "eight sleeps of 0.3 s one after the other take 2.4 s"


class Counting(RewardFunction):
    """Remembers how many calls were in flight at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = self.most = 0

    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.02)
        with self.lock:
            self.running -= 1
        return 1.0


@pytest.mark.parametrize("num_threads", [1, 3])
def test_the_number_of_threads_is_bounded(num_threads: int) -> None:
    function = Counting()
    Rubric({"a": function}, num_threads=num_threads).judge_all([pair() for _ in range(12)])
    assert function.most == num_threads


def test_too_many_errors_stop_the_run() -> None:
    rubric = Rubric({"math": Scripted("a")}, max_error_rate=0.1)
    wrong, failed = pair("fine", a=0.0), pair("p13", a=Verdict(None, "verifier timed out"))
    assert len(rubric.judge_all([wrong] * 36 + [failed] * 4)) == 40
    message = r"(?s)4 of 39 completions could not be judged.*max_error_rate=0.1.*'math' on prompt 'p13': verifier timed out"
    with pytest.raises(RuntimeError, match=message):
        rubric.judge_all([wrong] * 35 + [failed] * 4)


def test_a_handful_of_errors_never_stops_the_run() -> None:
    rubric = Rubric({"math": Scripted("a")}, max_error_rate=0.0)
    assert [r.reward for r in rubric.judge_all([pair(a=Verdict(None, "crashed"))] * 3)] == [None, None, None]
    assert rubric.judge_all([]) == []


def test_errors_of_a_function_without_weight_do_not_stop_the_run() -> None:
    rubric = Rubric({"a": Scripted("a"), "b": Scripted("b")}, weights={"b": 0.0})
    rollouts = rubric.judge_all([pair(a=1.0, b=Verdict(None, "crashed"))] * 10)
    assert [rollout.reward for rollout in rollouts] == [1.0] * 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"b": 1.0}}, r"unknown reward functions \['b'\]; the rubric has \['a'\]"),
        ({"accuracy": "acc"}, r"unknown reward functions \['acc'\]"),
        ({"weights": {"a": float("nan")}}, "weights must be finite"),
        ({"num_threads": 0}, "num_threads must be at least 1, got 0"),
        ({"max_error_rate": 1.5}, "max_error_rate must be between 0 and 1, got 1.5"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rubric({"a": Scripted("a")}, **settings)


def test_a_rubric_without_functions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one reward function"):
        Rubric({})


def test_closing_closes_every_function() -> None:
    functions = {"a": Scripted("a"), "b": Scripted("b")}
    Rubric(functions).close()
    assert [function.closed for function in functions.values()] == [1, 1]
