"""Rollouts come from the current weights, and every completion has a seed of its own."""

from collections.abc import Sequence

import pytest
import torch
from tiny_policies import TinyPolicy

from lit_rlvr.rewards import ExactAnswer, Rubric
from lit_rlvr.rollout.collector import CollectionInterruptedError, Collector, survivors
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.tasks import character_tokenizer
from lit_rlvr.types import Completion, Prompt, RolloutPolicy

TOKENIZER = character_tokenizer()
POLICY = TinyPolicy(torch.nn.Linear(1, 1))


class ScriptedEngine(RolloutEngine):
    """Answers every prompt with the same text, and remembers what it was told."""

    def __init__(self, text: str, takes_updates: bool = True) -> None:
        self.tokens = (*TOKENIZER.encode(text, add_special_tokens=False), TOKENIZER.eos_token_id)
        self.takes_updates = takes_updates
        self.updates: list[int] = []
        self.seeds: list[list[list[int]]] = []

    def update_weights(self, policy: RolloutPolicy, version: int) -> None:
        self.updates.append(version)
        if self.takes_updates:
            self.weight_version = version

    def generate(
        self, prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]], stop_token_ids: Sequence[int]
    ) -> list[list[Completion]]:
        self.seeds.append([list(row) for row in seeds])
        one = Completion(self.tokens, (-0.1,) * len(self.tokens), "stop", self.weight_version)
        return [[one for _ in row] for row in seeds]


def collector(engine: RolloutEngine, seed: int = 0) -> Collector:
    return Collector(engine, Rubric({"answer": ExactAnswer()}), TOKENIZER, [TOKENIZER.eos_token_id], seed)


def prompts(*names: str) -> list[Prompt]:
    return [Prompt(name, ({"role": "user", "content": "1+1="},), answer="2", token_ids=(5, 6)) for name in names]


def collect(subject: Collector, stream: str = "rollout", iteration: int = 0, draws: Sequence[int] = ()) -> list:
    return subject.collect(prompts("a", "b"), 3, SamplingParams(), stream, iteration, draws)


def test_without_a_policy_nothing_is_generated() -> None:
    with pytest.raises(RuntimeError, match="no policy is connected"):
        collect(collector(ScriptedEngine("2")))


def test_the_engine_is_updated_exactly_when_the_weights_have_changed() -> None:
    engine, version = ScriptedEngine("2"), [0]
    subject = collector(engine)
    subject.connect(POLICY, lambda: version[0])
    collect(subject)
    collect(subject)
    version[0] = 4
    assert collect(subject)[0].rollouts[0].completion.weight_version == 4
    assert engine.updates == [0, 4]


def test_an_engine_that_has_put_its_weights_away_is_given_them_again() -> None:
    engine = ScriptedEngine("2")
    subject = collector(engine)
    subject.connect(POLICY, lambda: 5)
    collect(subject)
    engine.weight_version = -1
    assert collect(subject)[0].rollouts[0].completion.weight_version == 5
    assert engine.updates == [5, 5]


def test_sampling_takes_the_weights_that_are_there() -> None:
    engine, version = ScriptedEngine("2"), [0]
    subject = collector(engine)
    subject.connect(POLICY, lambda: version[0])
    collect(subject)
    version[0] = 4
    (group,) = subject.sample(prompts("a"), 1, SamplingParams(), "rollout", 1)
    assert group.rollouts[0].completion.weight_version == 0
    assert engine.updates == [0]


def test_an_interrupted_collection_generates_nothing_until_it_is_connected_again() -> None:
    class Telling(ScriptedEngine):
        """Tells of its completions, and is interrupted after the first."""

        def generate(self, *args) -> list[list[Completion]]:
            rows = super().generate(*args)
            for number, completion in enumerate(rows[0]):
                self.told = number + 1
                self.on_completion(0, number, completion)
                subject.interrupt()
            return rows

    engine = Telling("2")
    subject = collector(engine)
    subject.connect(POLICY, lambda: 0)
    with pytest.raises(CollectionInterruptedError, match="the run ends"):
        collect(subject)
    assert engine.told == 2
    assert engine.on_completion is None
    with pytest.raises(CollectionInterruptedError):
        collect(subject)
    assert len(engine.seeds) == 1
    subject.engine = ScriptedEngine("2")
    subject.connect(POLICY, lambda: 0)
    assert len(collect(subject)) == 2


def test_an_engine_that_kept_its_old_weights_is_refused() -> None:
    subject = collector(ScriptedEngine("2", takes_updates=False))
    subject.connect(POLICY, lambda: 3)
    with pytest.raises(RuntimeError, match="holds weights of version -1 but the policy is at 3"):
        collect(subject)


def test_completions_are_decoded_and_judged_in_order() -> None:
    subject = collector(ScriptedEngine(r"<think></think>\boxed{2}"))
    subject.connect(POLICY, lambda: 0)
    groups = collect(subject)
    assert [group.prompt.id for group in groups] == ["a", "b"]
    assert groups[1].rollouts[2].completion.text == r"<think></think>\boxed{2}"
    assert all(r.is_correct and r.reward == 1.0 for group in groups for r in group.rollouts)


def test_seeds_differ_in_everything_they_are_for() -> None:
    engine = ScriptedEngine("2")
    for seed in (0, 1):
        subject = collector(engine, seed)
        subject.connect(POLICY, lambda: 0)
        for stream, iteration, draws in (("rollout", 0, ()), ("rollout", 1, ()), ("test", 0, ()), ("rollout", 0, (1, 1))):
            collect(subject, stream, iteration, draws)
    drawn = [seed for call in engine.seeds for row in call for seed in row]
    assert len(drawn) == len(set(drawn)) == 2 * 4 * 2 * 3
    again = collector(engine)
    again.connect(POLICY, lambda: 0)
    collect(again)
    assert engine.seeds[-1] == engine.seeds[0]


def test_survivors_have_been_judged_and_ended() -> None:
    subject = collector(ScriptedEngine("2"))
    subject.connect(POLICY, lambda: 0)
    group = collect(subject)[0]
    assert survivors(group, drop_truncated=True) == group
