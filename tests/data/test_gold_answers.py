"""The reward functions look at the problems of a stage before the first iteration."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from lit_rlvr.data import PromptFile, PromptFormat, RolloutDataModule
from lit_rlvr.data.ranks import Ranks
from lit_rlvr.rewards import ExactAnswer, MathReward, RewardFunction
from lit_rlvr.types import Completion, Prompt


class Looking(RewardFunction):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        return 0.0

    def check(self, prompts: Sequence[Prompt]) -> None:
        self.seen += [prompt.answer for prompt in prompts]


def file(folder: Path, name: str, *answers: str) -> PromptFile:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"question": "1+1=", "answer": answer}) + "\n" for answer in answers))
    return PromptFile(str(path))


def data_module(tiny_model: Path, folder: Path, **rewards: RewardFunction) -> RolloutDataModule:
    train, test = file(folder, "train", "1", "2", "3}"), file(folder, "test", "4", "5")
    return RolloutDataModule(PromptFormat(str(tiny_model)), train, rewards, test=test)


def test_the_problems_of_a_stage_are_shown_once(tiny_model: Path, tmp_path: Path) -> None:
    looking = Looking()
    data = data_module(tiny_model, tmp_path, looking=looking)
    data.setup("test")
    assert looking.seen == ["4", "5"]
    data.setup("fit")
    data.setup("fit")
    assert looking.seen == ["4", "5", "1", "2", "3}"]


def test_each_rank_looks_at_its_share(tiny_model: Path, tmp_path: Path) -> None:
    looking = Looking()
    data = data_module(tiny_model, tmp_path, looking=looking)
    data.ranks = Ranks(1, 2)
    data.setup("fit")
    assert looking.seen == ["2"]


@pytest.mark.parametrize("reward", [MathReward(), ExactAnswer()])
def test_unusable_gold_answers_stop_the_run_before_it_begins(tiny_model: Path, tmp_path: Path, reward: RewardFunction) -> None:
    data = data_module(tiny_model, tmp_path, answer=reward)
    data.setup("test")
    with pytest.raises(
        ValueError, match=r"1 of 3 gold answers .*\n  prompt '2' of 'train': '3}' has unbalanced braces"
    ) as raised:
        data.setup("fit")
    assert raised.value.__notes__ == ["raised by the reward function 'answer'"]
