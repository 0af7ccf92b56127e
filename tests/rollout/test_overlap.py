"""Training does not wait: completions are judged while others are still generated."""

import threading

import pytest
import torch
from tiny_policies import TinyPolicy, prompts_of_lengths, tiny_model

from lit_rlvr.rewards import RewardFunction, Rubric
from lit_rlvr.rollout.collector import Collector
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.tasks import character_tokenizer
from lit_rlvr.types import Completion, Prompt, RolloutGroup

TOKENIZER = character_tokenizer()
PATIENCE = 30.0


class Counted(RewardFunction):
    """The number of tokens; counts the completions it has judged."""

    def __init__(self) -> None:
        self.judged = threading.Semaphore(0)

    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        self.judged.release()
        return float(len(completion.token_ids))


def collect(engine: EmbeddedEngine, reward: RewardFunction) -> list[RolloutGroup]:
    collector = Collector(engine, Rubric({"count": reward}, num_threads=2), TOKENIZER, [3], seed=1)
    with torch.random.fork_rng():
        policy = TinyPolicy(tiny_model("qwen3"))
    collector.connect(policy, lambda: 0)
    return collector.collect(prompts_of_lengths(4, 9, 6), 8, SamplingParams(max_tokens=40), "rollout", 0)


def test_completions_are_judged_before_the_last_is_generated() -> None:
    reward, engine = Counted(), EmbeddedEngine()
    early: list[int] = []

    def wait_for_the_judge(finished: int, total: int) -> None:
        if finished < total:
            assert reward.judged.acquire(timeout=PATIENCE), "generation waits for a judge who does not come"
            early.append(finished)

    engine.on_progress = wait_for_the_judge
    groups = collect(engine, reward)
    assert early
    assert engine.on_completion is None
    for group in groups:
        assert len(group.rollouts) == 8
        assert [r.reward for r in group.rollouts] == [float(len(r.completion.token_ids)) for r in group.rollouts]


def test_the_order_of_judging_changes_nothing() -> None:
    class TellsNothing(EmbeddedEngine):
        def _report(self, *_: object) -> None:
            pass

    judged_late, judged_early = collect(TellsNothing(), Counted()), collect(EmbeddedEngine(), Counted())
    assert judged_late == judged_early


def test_a_broken_reward_stops_the_collection_with_its_own_error() -> None:
    class Broken(RewardFunction):
        def __call__(self, prompt: Prompt, completion: Completion) -> float:
            raise ZeroDivisionError("a bug in a reward function")

    engine = EmbeddedEngine()
    with pytest.raises(ZeroDivisionError, match="a bug in a reward function"):
        collect(engine, Broken())
    assert engine.on_completion is None
