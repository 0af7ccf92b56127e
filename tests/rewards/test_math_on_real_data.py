import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lit_rlvr.rewards import MathReward, Rubric, gold_after_marker
from lit_rlvr.types import Completion, Prompt

PROSE = r"(?s)(?:\A|\bis:? (?=[-$\\(\[\d]))((?:(?!\bis:? [-$\\(\[\d]).)+)\Z"
"""What follows the last "is" that precedes something mathematical; the whole text when there is none."""


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    function = MathReward()
    yield function
    function.close()


def pair(gold: str, text: str) -> tuple[Prompt, Completion]:
    return Prompt(gold, (), answer=gold), Completion((1, 2), (0.0, 0.0), "stop", text=text)


def test_real_pairs_of_other_graders(real_data: Callable[[str], Path], reward: MathReward) -> None:
    rows = [json.loads(line) for line in real_data("math_pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    core = [(row["gold"], row["pred"].split("<|im_start|>")[0], row["equal"]) for row in rows if row["tag"] == "core"]
    from_prose = MathReward(pattern=PROSE)
    wrong = []
    for function, boxed in ((reward, True), (from_prose, False)):
        chosen = [row for row in core if ("boxed" in row[1]) is boxed]
        rollouts = Rubric({"math": function}).judge_all([pair(gold, text) for gold, text, _ in chosen])
        wrong += [(row, r.verdicts["math"]) for row, r in zip(chosen, rollouts, strict=True) if (r.reward == 1.0) != row[2]]
    from_prose.close()
    assert len(core) > 100
    assert [row for row, verdict in wrong if verdict.score == 1.0] == [], "false positives"
    assert len(wrong) <= 0.01 * len(core), wrong


def test_gold_answers_of_gsm8k_verify_against_themselves(real_data: Callable[[str], Path], reward: MathReward) -> None:
    rows = real_data("gsm8k_train_2k.jsonl").read_text(encoding="utf-8").splitlines()
    golds = [gold_after_marker(json.loads(line)["answer"]) for line in random.Random(0).sample(rows, 100)]
    assert reward.gold_problems(golds) == {}
    rubric = Rubric({"math": reward})
    right = rubric.judge_all([pair(gold, rf"<think>a</think>The answer is $\boxed{{{gold}}}$.") for gold in golds])
    wrong = rubric.judge_all([pair(gold, rf"\boxed{{{gold}1}}") for gold in golds])
    assert [rollout.reward for rollout in right] == [1.0] * 100
    assert [rollout.reward for rollout in wrong] == [0.0] * 100
