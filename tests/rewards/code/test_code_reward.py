import copy
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from code_samples import HALF, LIMITS, RIGHT, SUMS, completion, prompt
from jsonargparse import ArgumentParser

from lit_rlvr.rewards import CodeReward, RewardFunction, Rubric, ThinkGate
from lit_rlvr.rewards.code import CodeTest, InputsOutputs, ProblemRow, StdioTest
from lit_rlvr.rewards.code.selection import select_tests
from lit_rlvr.sandbox import Job, Limits, LocalSandbox, Outcome, Sandbox
from lit_rlvr.types import Completion, Prompt, Verdict


def test_the_published_scores(sandbox: LocalSandbox) -> None:
    klear = ThinkGate(CodeReward(incorrect_score=-1, partial_credit=True, max_tests=16, sandbox=sandbox, limits=LIMITS))
    aspo = CodeReward(max_tests=16, sandbox=sandbox, limits=LIMITS)
    texts = {
        "right": completion(RIGHT).text,
        "half": completion(HALF).text,
        "wrong": completion("print('no')").text,
        "no code": "<think></think> 7",
        "no close": f"<think>\n```python\n{RIGHT}\n```",
        "no open": completion(RIGHT).text.removeprefix("<think>"),
    }
    scores = {
        name: (klear(prompt(), answer).score, aspo(prompt(), answer).score)
        for name, text in texts.items()
        for answer in [Completion((1,), (0.0,), "stop", text=text)]
    }
    assert scores == {
        "right": (1.0, 1.0),
        "half": (0.0, 0.0),
        "wrong": (-1.0, 0.0),
        "no code": (-1.0, 0.0),
        "no close": (-0.5, 1.0),
        "no open": (-2.0, 1.0),
    }


def test_only_all_tests_passed_is_correct(sandbox: LocalSandbox) -> None:
    rubric = Rubric({"code": CodeReward(partial_credit=True, sandbox=sandbox, limits=LIMITS)})
    programs = [RIGHT, HALF, "print(3)", RIGHT]
    rollouts = rubric.judge_all([(prompt(), completion(program)) for program in programs])
    assert [(rollout.reward, rollout.is_correct) for rollout in rollouts] == [
        (1.0, True),
        (0.5, False),
        (0.25, False),
        (1.0, True),
    ]


def test_what_is_cut_or_has_no_program_is_wrong(sandbox: LocalSandbox) -> None:
    reward = CodeReward(incorrect_score=-1, sandbox=sandbox, limits=LIMITS)
    assert reward(prompt(), completion(RIGHT, cut=True)) == Verdict(-1.0, "the completion was cut")
    lenient = CodeReward(require_stop=False, sandbox=sandbox, limits=LIMITS)
    assert lenient(prompt(), completion(RIGHT, cut=True)).score == 1.0
    assert reward(prompt(), Completion((1,), (0.0,), "stop", text="7")).detail == "no Python code block in the completion"
    big = completion(f"{RIGHT}\n#{'x' * 300_000}")
    assert reward(prompt(), big).detail == f"program rejected: {len(RIGHT) + 300_003} bytes, at most 262144"


def test_the_tests_of_a_group_are_the_same_everywhere() -> None:
    tests = [StdioTest(str(n), str(n)) for n in range(100)]
    chosen = select_tests(tests, 16, 0, "p1")
    assert len(set(chosen)) == 16
    assert list(chosen) == sorted(chosen, key=tests.index)
    assert chosen == select_tests(list(tests), 16, 0, "p1")
    assert chosen != select_tests(tests, 16, 0, "p2")
    assert chosen != select_tests(tests, 16, 1, "p1")
    assert select_tests(tests, 0, 0, "p1") == tuple(tests) == select_tests(tests, 100, 0, "p1")


def test_max_tests_bounds_what_is_run(sandbox: LocalSandbox) -> None:
    rows = {"inputs": [f"{n} 0\n" for n in range(50)], "outputs": [f"{n}\n" for n in range(50)]}
    reward = CodeReward(max_tests=5, sandbox=sandbox, limits=LIMITS)
    assert reward(prompt(rows), completion(RIGHT)).detail == "5 of 5 tests passed"
    chosen = {test.input.split()[0] for test in reward.tests(prompt(rows)) if isinstance(test, StdioTest)}
    assert len(chosen) == 5
    lucky = f"n = input().split()[0]\nprint(n if n in {chosen} else 'no')"
    assert reward(prompt(rows), completion(lucky)).score == 1.0
    assert CodeReward(max_tests=5, seed=1, sandbox=sandbox, limits=LIMITS)(prompt(rows), completion(lucky)).score == 0.0


@pytest.mark.parametrize(("max_timeouts", "passed"), [(1, 1), (2, 2), (0, 3)])
def test_time_outs_are_paid_for_only_so_often(sandbox: LocalSandbox, max_timeouts: int, passed: int) -> None:
    rows = {"inputs": ["1", "0", "1", "0", "1", "0"], "outputs": ["1"] * 6}
    program = "n = input()\nwhile n == '0':\n    pass\nprint(1)"
    reward = CodeReward(partial_credit=True, max_timeouts=max_timeouts, sandbox=sandbox, limits=Limits(cpu_s=0.2, wall_s=2.0))
    assert reward(prompt(rows), completion(program)).score == pytest.approx(passed / 6)


def test_many_threads_share_one_reward(sandbox: LocalSandbox) -> None:
    reward = CodeReward(partial_credit=True, sandbox=sandbox, limits=LIMITS)
    programs = [RIGHT, HALF, "print('no')"] * 8
    with ThreadPoolExecutor(8) as threads:
        scores = list(threads.map(lambda program: reward(prompt(), completion(program)).score, programs))
    assert scores == [1.0, 0.5, 0.0] * 8


def test_copies_carry_the_configuration() -> None:
    reward = CodeReward(incorrect_score=-1, partial_credit=True, limits=LIMITS)
    twin = copy.deepcopy(reward)
    try:
        assert (twin.incorrect_score, twin.partial_credit, twin.limits) == (-1, True, LIMITS)
        assert twin(prompt(), completion(HALF)).score == 0.0
    finally:
        twin.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"incorrect_score": 1.0}, "incorrect_score must be below 1"),
        ({"incorrect_score": float("nan")}, "incorrect_score must be below 1"),
        ({"max_tests": -1}, "max_tests must be at least 0, got -1"),
        ({"max_timeouts": -1}, "max_timeouts must be at least 0, got -1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodeReward(**settings)


def test_check_names_the_prompts_that_cannot_be_judged(sandbox: LocalSandbox) -> None:
    reward = CodeReward(sandbox=sandbox, limits=LIMITS, reference_field="solution")
    good = prompt(name="good", solution=RIGHT)
    reward.check([good, prompt(name="list", solution=json.dumps([RIGHT, "print(1)"]))])
    CodeReward(field="tests", sandbox=sandbox, limits=LIMITS, reference_field="answer").check([prompt(RIGHT, tests=SUMS)])
    bad = [
        prompt({"inputs": ["1"], "outputs": []}, "lengths", solution=RIGHT),
        prompt(name="fails", solution="print(3)"),
        prompt(name="missing"),
        prompt(name="empty", solution=[]),
    ]
    with pytest.raises(ValueError, match=r"(?s)4 of 5 prompts have tests that cannot be used") as caught:
        reward.check([good, *bad])
    message = str(caught.value)
    assert "prompt 'lengths': field 'outputs': 0 outputs for 1 inputs" in message
    assert "prompt 'fails': field 'solution': the reference solution passes 1 of 4 tests (test 2: input" in message
    assert "prompt 'missing': no column 'solution' with the reference solution" in message
    assert "prompt 'empty': field 'solution': '[]' is no program" in message


def test_a_prompt_without_tests_stops_the_run(sandbox: LocalSandbox) -> None:
    rubric = Rubric({"code": CodeReward(sandbox=sandbox)})
    with pytest.raises(ValueError, match="prompt 'p9': field 'answer': no assertion") as caught:
        rubric.judge_all([(prompt("42", name="p9"), completion(RIGHT))])
    assert caught.value.__notes__ == ["raised by the reward function 'code' on prompt 'p9'"]


@dataclass(frozen=True)
class AnyOrder(StdioTest):
    """The printed words may come in any order."""

    def accepts(self, outcome: Outcome) -> bool:
        return sorted(outcome.stdout.split()) == sorted(self.output.encode().split())


class AnyOrderRows(InputsOutputs):
    def read(self, row: ProblemRow) -> list[CodeTest]:
        return [AnyOrder(test.input, test.output) for test in super().read(row) if isinstance(test, StdioTest)]


def test_a_comparison_of_ones_own(sandbox: LocalSandbox) -> None:
    rows = prompt({"inputs": ["3"], "outputs": ["1 2 3"]})
    program = completion("print(*range(int(input()), 0, -1))")
    assert CodeReward(sandbox=sandbox)(rows, program).score == 0.0
    assert CodeReward(sandbox=sandbox, formats=[AnyOrderRows()])(rows, program).score == 1.0


class ShortCode(CodeReward):
    """Takes a tenth off for programs of more than ten lines."""

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        verdict = super().__call__(prompt, completion)
        is_long = completion.text.count("\n") > 12
        return verdict if verdict.score is None else Verdict(verdict.score - 0.1 * is_long, verdict.detail)


def test_a_reward_of_ones_own(sandbox: LocalSandbox) -> None:
    reward = ShortCode(sandbox=sandbox)
    assert reward(prompt(), completion(RIGHT)).score == 1.0
    assert reward(prompt(), completion(RIGHT + "\n" * 20)).score == 0.9


def test_all_of_it_is_reached_from_yaml() -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(RewardFunction, "reward")
    settings = {
        "class_path": "lit_rlvr.rewards.ThinkGate",
        "init_args": {
            "reward": {
                "class_path": "lit_rlvr.rewards.CodeReward",
                "init_args": {
                    "incorrect_score": -1,
                    "partial_credit": True,
                    "max_tests": 16,
                    "formats": [{"class_path": "lit_rlvr.rewards.code.LiveCodeBench"}],
                    "sandbox": {"class_path": "lit_rlvr.sandbox.LocalSandbox", "init_args": {"num_workers": 4}},
                    "limits": {"cpu_s": 6, "memory_mb": 1024},
                },
            }
        },
    }
    gate = parser.instantiate_classes(parser.parse_object({"reward": settings})).reward
    assert isinstance(gate.reward, CodeReward)
    assert gate.reward.limits == Limits(cpu_s=6, memory_mb=1024)
    assert isinstance(gate.reward.sandbox, LocalSandbox)
    assert gate.reward.sandbox.num_workers == 4


class Counted(Sandbox):
    """Counts the jobs on their way to the sandbox of this machine."""

    def __init__(self, inner: LocalSandbox) -> None:
        self.inner = inner
        self.jobs = 0

    def run(self, jobs: Sequence[Job], limits: Limits) -> list[Outcome]:
        self.jobs += len(jobs)
        return self.inner.run(jobs, limits)


def test_equal_programs_of_a_group_are_run_once(sandbox: LocalSandbox) -> None:
    counted = Counted(sandbox)
    reward = CodeReward(sandbox=counted, limits=LIMITS)
    rubric = Rubric({"code": reward}, num_threads=8)
    rollouts = rubric.judge_all([(prompt(), completion(RIGHT))] * 8 + [(prompt(name="p2"), completion(RIGHT))] * 2)
    assert [rollout.reward for rollout in rollouts] == [1.0] * 10
    assert counted.jobs == 4, "ten completions, one program, the same four tests"
    reward(prompt(), completion(HALF))
    assert counted.jobs == 8


@pytest.mark.parametrize(("max_timeouts", "most"), [(1, 1), (2, 2), (3, 3)])
def test_no_more_time_outs_are_run_than_allowed(sandbox: LocalSandbox, max_timeouts: int, most: int) -> None:
    counted = Counted(sandbox)
    reward = CodeReward(max_timeouts=max_timeouts, sandbox=counted, limits=Limits(cpu_s=0.1, wall_s=2.0))
    assert reward(prompt(), completion("while True: pass")).detail.startswith("0 of 4 tests passed")
    assert counted.jobs == most
