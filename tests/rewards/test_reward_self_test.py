"""Every reward function knows texts whose outcome is what it says."""

import time
from typing import Any

import pytest

from lit_rlvr.rewards import (
    BoxedGate,
    CodeReward,
    ExactAnswer,
    LanguageConsistency,
    MathReward,
    OverlongPenalty,
    RepetitionPenalty,
    RewardFunction,
    Rubric,
    ThinkFormat,
    ThinkGate,
)
from lit_rlvr.sandbox import Limits
from lit_rlvr.types import Completion, Prompt, Rollout

SUM = Prompt("sum", ({"role": "user", "content": "2+2"},), answer="4")
TESTS = '[{"input": "2", "output": "4"}, {"input": "3", "output": "6"}]'
DOUBLE = Prompt("double", (), metadata={"tests": TESTS, "solution": "print(2 * int(input()))"})
CASES: list[tuple[RewardFunction, Prompt]] = [
    (ExactAnswer(), SUM),
    (ExactAnswer(pattern=r"#### (.+)"), SUM),
    (ExactAnswer(pattern=r"answer is\s+(\S+)"), SUM),
    (MathReward(cpu_s=0.3), SUM),
    (ThinkGate(MathReward(incorrect_score=-1.0, cpu_s=0.3)), SUM),
    (ThinkGate(ExactAnswer(), prompt_opens_think=True), SUM),
    (BoxedGate(ExactAnswer(pattern=r"#### (.+)")), SUM),
    (ThinkFormat(), SUM),
    (ThinkFormat(prompt_opens_think=True), SUM),
    (CodeReward(field="tests", reference_field="solution", limits=Limits(cpu_s=0.3, wall_s=5.0)), DOUBLE),
]


def judge(function: RewardFunction, prompt: Prompt, text: str) -> Rollout:
    tokens = tuple(range(len(text)))
    return Rubric({"it": function}).judge(prompt, Completion(tokens, (0.0,) * len(tokens), "stop", text=text))


@pytest.mark.parametrize(("function", "prompt"), CASES, ids=lambda case: type(case).__name__)
def test_right_wrong_and_hanging(function: RewardFunction, prompt: Prompt) -> None:
    test = function.self_test(prompt)
    assert test.right is not None
    assert test.wrong is not None
    assert test.hanging is not None
    assert judge(function, prompt, test.right).is_correct
    wrong = judge(function, prompt, test.wrong)
    assert not wrong.is_correct
    assert wrong.reward is not None
    start = time.monotonic()
    hanging = judge(function, prompt, test.hanging)
    assert not hanging.is_correct
    assert hanging.reward is not None
    assert time.monotonic() - start < test.limit_s
    function.close()


@pytest.mark.parametrize("function", [OverlongPenalty(100, 10), RepetitionPenalty(n=3), LanguageConsistency(["CJK"])])
def test_the_wrong_text_is_paid_less(function: RewardFunction) -> None:
    test = function.self_test(SUM)
    assert test.right is not None
    assert test.wrong is not None
    scores: list[Any] = [judge(function, SUM, text).reward for text in (test.right, test.wrong)]
    assert scores[0] > scores[1]
    assert test.has_answer is None


def test_a_prompt_without_a_usable_answer_says_so() -> None:
    for answer in ("", "  ", r"\frac{1"):
        test = MathReward().self_test(Prompt("a", (), answer=answer))
        assert test.has_answer is False
        assert test.right is None


def test_a_pattern_that_nothing_matches_has_no_right_text() -> None:
    test = ExactAnswer(pattern="Solution=<(.*)>").self_test(SUM)
    assert test.right is None
    assert test.has_answer is True
