"""Rollouts ahead of training: the same prompts and seeds as without, weights as old as allowed, and an end whatever happens."""

import io
import sys
import threading
import time
import traceback

import pytest
import torch
from ahead_cases import PATIENCE, STEPS, Policy, ScriptedEngine, Training, prompt_ids, versions

from lit_rlvr.data.asynchronous import AsyncConfig
from lit_rlvr.rewards import RewardFunction
from lit_rlvr.rollout.embedded import EmbeddedEngine

AHEAD = AsyncConfig(max_staleness=1)
DEEP = AsyncConfig(max_staleness=3, partial_rollouts=True)
WAYS = [(AHEAD, False), (AsyncConfig(1, True), True), (DEEP, True)]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    switch_seconds = sys.getswitchinterval()
    yield
    assert sys.getswitchinterval() == switch_seconds
    deadline = time.monotonic() + PATIENCE
    while "rollouts" in (left := [t.name for t in threading.enumerate()]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "rollouts" not in left


class Held:
    """Holds the engine before a token until it is let go."""

    def __init__(self, engine: ScriptedEngine, token: int = 0) -> None:
        self.reached, self.let_go, self.token = threading.Event(), threading.Event(), token
        engine.before_token = self

    def __call__(self, token: int) -> None:
        if token == self.token and threading.current_thread() is not threading.main_thread():
            self.reached.set()
            assert self.let_go.wait(PATIENCE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_staleness": -1}, "data.asynchronous.max_staleness must be 0"),
        ({"partial_rollouts": True}, "partial_rollouts would do nothing with max_staleness=0"),
        ({"max_staleness": 2}, "max_staleness=2 needs data.asynchronous.partial_rollouts=true"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AsyncConfig(**settings)


def test_engines_that_cannot_are_refused() -> None:
    with pytest.raises(ValueError, match="needs an engine with weights of its own, but EmbeddedEngine"):
        AHEAD.check_engine(EmbeddedEngine())
    with pytest.raises(ValueError, match="takes new weights while it generates, which ScriptedEngine cannot"):
        DEEP.check_engine(ScriptedEngine())
    AHEAD.check_engine(EmbeddedEngine(device="cpu"))
    AHEAD.check_engine(ScriptedEngine())
    DEEP.check_engine(ScriptedEngine(can_update_midway=True))
    AsyncConfig().check_engine(EmbeddedEngine())


@pytest.mark.parametrize(("asynchronous", "midway"), WAYS)
def test_prompts_and_seeds_of_every_iteration_are_those_of_a_synchronous_run(asynchronous, midway) -> None:
    engines = ScriptedEngine(midway), ScriptedEngine()
    ahead, plain = Training(engines[0], asynchronous), Training(engines[1], AsyncConfig())
    assert prompt_ids(ahead.run(7)) == prompt_ids(plain.run(7))
    assert [call[:2] for call in engines[0].calls] == [call[:2] for call in engines[1].calls]
    assert engines[0].threads == {"rollouts"}
    assert engines[1].threads == {"MainThread"}
    ahead.source.stop()
    assert ahead.stream.drawn == plain.stream.drawn == 7 * 4


def test_one_iteration_ahead_comes_from_the_weights_before_training() -> None:
    training = Training(ScriptedEngine(), AHEAD)
    taken = training.run(4)
    assert [versions(collection) for collection in taken] == [{0}, {0}, {STEPS}, {2 * STEPS}]
    stale = {"rollout/staleness_mean": STEPS, "rollout/staleness_max": STEPS, "rollout/staleness_iterations": 1}
    assert [collection.statistics for collection in taken[1:]] == [stale] * 3
    assert set(taken[0].statistics.values()) == {0}
    training.source.stop()


def test_training_goes_on_while_the_next_iteration_is_generated() -> None:
    training = Training(ScriptedEngine(), AHEAD)
    training.take()
    training.source.wait()
    held = Held(training.engine)
    training.version += STEPS
    training.take(1)
    assert held.reached.wait(PATIENCE)
    training.version += STEPS  # this is training, with a generation in progress
    assert training.engine.is_generating
    held.let_go.set()
    assert versions(training.take(0)) == {STEPS}
    training.source.stop()


def test_weights_reach_completions_in_progress_at_the_boundary() -> None:
    training = Training(ScriptedEngine(can_update_midway=True), AsyncConfig(1, partial_rollouts=True))
    held = Held(training.engine, token=2)
    held.let_go.set()
    training.take(2)
    training.source.wait()  # iteration 1 is complete
    held.let_go.clear()
    held.reached.clear()
    training.version += STEPS
    training.take(2)  # submits iteration 2, which stops before its third token
    assert held.reached.wait(PATIENCE)
    training.version += STEPS
    update, training.engine.update_weights = training.engine.update_weights, None

    def update_and_let_go(policy: Policy, version: int) -> None:
        update(policy, version)
        held.let_go.set()

    training.engine.update_weights = update_and_let_go
    mixed = training.take(0)
    completion = mixed.groups.seen[0].rollouts[0].completion
    assert completion.token_versions == (STEPS, STEPS, 2 * STEPS, 2 * STEPS, 2 * STEPS, 2 * STEPS)
    assert mixed.statistics == {
        "rollout/staleness_mean": pytest.approx(STEPS * 2 / 6),
        "rollout/staleness_max": STEPS,
        "rollout/staleness_iterations": 1,
    }
    training.source.stop()


def test_no_token_is_older_than_the_bound() -> None:
    training = Training(ScriptedEngine(can_update_midway=True), DEEP)
    behind = [collection.statistics["rollout/staleness_iterations"] for collection in training.run(9)]
    assert max(behind) <= 3
    training.source.stop()


def test_an_engine_that_samples_from_older_weights_is_found_out() -> None:
    class Liar(ScriptedEngine):
        """Takes no weights after the first, and reports honestly what its tokens come from."""

        def _version_of(self, token: int) -> int:
            return self.updates[0]

    training = Training(Liar(), AHEAD)
    training.run(2)  # the second may be from the weights before
    with pytest.raises(
        RuntimeError, match=r"iteration 2 has tokens of version 0, older than .*max_staleness=1 allows: version 4"
    ):
        training.take()
    training.source.stop()


def test_nothing_is_collected_beyond_the_end() -> None:
    training = Training(ScriptedEngine(can_update_midway=True), DEEP)
    training.run(5)
    training.source.stop()
    assert len(training.engine.calls) == 5


class Bug(RewardFunction):
    def __call__(self, prompt, completion) -> float:
        raise ZeroDivisionError("a bug in a reward")


def test_an_error_in_the_background_is_raised_at_the_boundary_with_its_traceback() -> None:
    training = Training(ScriptedEngine(can_update_midway=True), DEEP)
    training.take()
    training.source.wait()
    training.rubric.rewards["length"] = Bug()
    training.run(3)  # collected before
    for _ in range(2):  # and nothing is collected after it
        with pytest.raises(ZeroDivisionError, match="a bug in a reward") as caught:
            training.take()
        training.iteration += 1
    assert "in collect_groups" in "".join(traceback.format_exception(caught.value))
    training.source.stop()


def test_evaluation_has_the_engine_to_itself() -> None:
    training = Training(ScriptedEngine(can_update_midway=True), DEEP)
    training.run(2)
    training.take()
    training.source.wait()
    assert not training.engine.is_generating
    assert len(training.engine.calls) == 3 + 3
    training.collector.collect([training.stream.rows[0]], 2, training.source.recipe.sampling, "validation", 0)
    assert training.engine.calls[-1][2] == 2 * STEPS
    training.source.stop()


def test_the_end_interrupts_a_generation_and_gives_its_prompts_back() -> None:
    training = Training(ScriptedEngine(), AHEAD)
    training.take()
    training.source.wait()
    held = Held(training.engine)
    training.take()
    assert held.reached.wait(PATIENCE)
    assert training.stream.drawn > 2 * 4 - 1
    threading.Timer(0.2, held.let_go.set).start()
    start = time.monotonic()
    training.source.stop()
    assert time.monotonic() - start < PATIENCE
    assert training.stream.drawn == 2 * 4
    assert not training.engine.is_generating
    training.source.stop()  # once more does nothing


def test_a_generation_that_cannot_be_interrupted_does_not_hold_the_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_rlvr.data.ahead.PATIENCE_SECONDS", 0.1)
    training = Training(ScriptedEngine(), AHEAD)
    training.take()
    training.source.wait()
    held = Held(training.engine)
    training.take()
    assert held.reached.wait(PATIENCE)
    with pytest.warns(UserWarning, match="ScriptedEngine still generates"):
        training.source.stop()
    held.let_go.set()


@pytest.mark.parametrize(("asynchronous", "midway"), WAYS)
@pytest.mark.parametrize("is_in_progress", [False, True])
def test_a_resumed_run_loses_no_prompt_and_repeats_none(asynchronous, midway, is_in_progress) -> None:
    plain = prompt_ids(Training(ScriptedEngine(), AsyncConfig()).run(8))
    training = Training(ScriptedEngine(midway), asynchronous)
    before = training.run(2)
    before.append(training.take())
    training.source.wait()
    held = Held(training.engine)
    training.version += STEPS
    if is_in_progress:
        before.append(training.take())
        assert held.reached.wait(PATIENCE)
    stored = io.BytesIO()
    torch.save(training.state(), stored)
    stored.seek(0)
    state = torch.load(stored, weights_only=True)
    finished = [kept["iteration"] for kept in state["ahead"]["finished"]]
    assert finished == list(range(len(before), 3 + asynchronous.max_staleness))
    other = training.resumed(ScriptedEngine(midway), asynchronous, state)
    after = other.run(8 - len(before))
    assert prompt_ids(before + after) == plain
    assert len(other.engine.calls) == 8 - len(before) - len(finished)
    held.let_go.set()
    training.source.stop()
    other.source.stop()


def test_what_was_complete_is_resumed_as_it_was() -> None:
    training = Training(ScriptedEngine(can_update_midway=True), DEEP, max_rounds=2, prompts_per_round=3)
    training.take()
    training.source.wait()
    state = training.state()
    other = training.resumed(ScriptedEngine(can_update_midway=True), DEEP, state)
    for _ in range(3):
        ours, theirs = other.take(), training.take()
        assert ours.groups.with_advantages() == theirs.groups.with_advantages()
        assert ours.groups.kept == theirs.groups.kept
        assert ours.groups.statistics() == theirs.groups.statistics()
        assert ours.statistics == theirs.statistics
    training.source.stop()
    other.source.stop()


@pytest.mark.parametrize("less", [AHEAD, AsyncConfig()])
def test_a_run_resumed_with_a_tighter_bound_collects_again(less: AsyncConfig) -> None:
    training = Training(ScriptedEngine(can_update_midway=True), DEEP)
    before = training.run(2)
    training.source.wait()
    other = training.resumed(ScriptedEngine(), less, training.state())
    assert prompt_ids(before + other.run(4)) == prompt_ids(Training(ScriptedEngine(), AsyncConfig()).run(6))
    training.source.stop()
    other.source.stop()


def test_a_synchronous_run_goes_on_asynchronously() -> None:
    training = Training(ScriptedEngine(), AsyncConfig())
    before = training.run(2)
    assert training.state()["ahead"] is None
    other = training.resumed(ScriptedEngine(), AHEAD, training.state())
    assert prompt_ids(before + other.run(4)) == prompt_ids(Training(ScriptedEngine(), AsyncConfig()).run(6))
    other.source.stop()


def test_a_checkpoint_of_other_problems_is_refused() -> None:
    training = Training(ScriptedEngine(), AHEAD, num_prompts=10)
    training.take()
    training.source.wait()
    state = training.state()
    training.source.stop()
    other = Training(ScriptedEngine(), AHEAD, num_prompts=1)
    with pytest.raises(ValueError, match=r"holds completions of prompt 'p[1-9]', which data.train does not have"):
        other.source.load_state_dict(state["ahead"], state["prompts_drawn"])


def test_progress_is_told_in_the_main_thread_only() -> None:
    training = Training(ScriptedEngine(), AHEAD)
    told: list[tuple[str, int, int]] = []

    def listen(done: int, total: int) -> None:
        told.append((threading.current_thread().name, done, total))

    training.engine.on_progress = listen
    held = Held(training.engine, token=5)
    threading.Timer(0.6, held.let_go.set).start()
    training.take()
    training.source.wait()
    slow = Held(training.engine, token=5)
    training.take()
    assert slow.reached.wait(PATIENCE)
    slow.let_go.set()
    training.take(0)
    training.collector.collect([training.stream.rows[0]], 2, training.source.recipe.sampling, "validation", 0)
    assert told[-1] == ("MainThread", 1, 1)
    assert {name for name, *_ in told} == {"MainThread"}
    training.source.stop()
    assert training.engine.on_progress == listen
