import re

import pytest

from lit_rlvr.tasks.addition import AdditionConversations, AdditionPrompts, column_steps
from lit_rlvr.tasks.base import split_of
from lit_rlvr.tasks.tiny_tokenizer import character_tokenizer
from lit_rlvr.types import Prompt

SPLITS = ("train", "validation", "test")
STEP = re.compile(r"(\d)\+(\d)\+(\d)=(\d)(\d)")


def operands(question: str) -> tuple[int, int]:
    first, second = re.fullmatch(r"(\d+)\+(\d+)=", question).groups()
    return int(first), int(second)


def test_a_prompt_asks_for_a_sum_and_knows_it() -> None:
    for prompt in AdditionPrompts(num=300).load():
        first, second = operands(prompt.messages[0]["content"])
        assert prompt.answer == str(first + second)
        assert prompt.id == f"{min(first, second)}+{max(first, second)}"
        assert prompt.source == "addition"
        assert all(100 <= number <= 99999 for number in (first, second))


def test_every_demonstration_is_right_and_its_columns_are_consistent() -> None:
    for conversation in AdditionConversations(num=2000, seed=3, terse_share=0.0).load():
        first, second = operands(conversation.messages[0]["content"])
        thought, answer = re.fullmatch(r"<think>(.*)</think>\\boxed\{(\d+)\}", conversation.response).groups()
        columns = [STEP.fullmatch(step).groups() for step in thought.split(",")]
        width = max(len(str(first)), len(str(second)))
        assert "".join(a for a, *_ in reversed(columns)) == str(first).zfill(width)
        assert "".join(b for _, b, *_ in reversed(columns)) == str(second).zfill(width)
        assert [carry for _, _, carry, _, _ in columns] == ["0"] + [tens for *_, tens, _ in columns[:-1]]
        assert all(int(a) + int(b) + int(carry) == int(tens + ones) for a, b, carry, tens, ones in columns)
        written = columns[-1][3] + "".join(ones for *_, ones in reversed(columns))
        assert int(written) == int(answer) == first + second


def test_terse_demonstrations_have_an_empty_thought_and_the_right_answer() -> None:
    for conversation in AdditionConversations(num=200, terse_share=1.0).load():
        assert conversation.response == f"<think></think>\\boxed{{{sum(operands(conversation.messages[0]['content']))}}}"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_the_share_of_terse_demonstrations(share: float) -> None:
    responses = [c.response for c in AdditionConversations(num=2000, terse_share=share).load()]
    found = sum("<think></think>" in r for r in responses) / len(responses)
    assert found == pytest.approx(share, abs=0.04 if 0 < share < 1 else 0)


def test_splits_are_disjoint_across_seeds_even_with_the_numbers_swapped() -> None:
    # Two-digit numbers: 4095 pairs, so that seeds overlap and a leak would show.
    keys = {
        split: {p.id for seed in range(3) for p in AdditionPrompts(split, 200, seed, 2, 2).load()}
        | {c.id for c in AdditionConversations(split, 200, 7, 2, 2).load()}
        for split in SPLITS
    }
    assert not keys["train"] & keys["validation"]
    assert not keys["train"] & keys["test"]
    assert not keys["validation"] & keys["test"]
    assert all(split_of(key) == split for split in SPLITS for key in keys[split])
    swapped = {"+".join(reversed(key.split("+"))) for key in keys["train"]}
    assert not swapped & (keys["validation"] | keys["test"])
    assert all(len(keys[split]) < 800 for split in SPLITS)  # the seeds did overlap


def test_splits_hold_their_shares() -> None:
    splits = [split_of(f"{a}+{b}") for a in range(100, 250) for b in range(a, 250)]
    shares = {split: splits.count(split) / len(splits) for split in SPLITS}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.01)


def test_problems_of_a_load_are_distinct_and_decided_by_the_seed() -> None:
    def load(seed: int, num: int = 500) -> list[Prompt]:
        return AdditionPrompts("test", num, seed).load()

    first = load(0)
    assert len({prompt.id for prompt in first}) == 500
    assert load(0) == first
    assert load(0, 100) == first[:100]
    assert not {p.id for p in load(1)} & {p.id for p in first}
    assert AdditionConversations(num=50, seed=4).load() == AdditionConversations(num=50, seed=4).load()


def test_the_lengths_of_the_numbers_follow_the_setting() -> None:
    lengths = {len(n) for p in AdditionPrompts(num=300, min_digits=2, max_digits=6).load() for n in p.id.split("+")}
    assert lengths == {2, 3, 4, 5, 6}


def test_prompts_and_responses_are_short() -> None:
    tokenizer = character_tokenizer()
    for conversation in AdditionConversations(num=2000).load():
        messages = [dict(m) for m in conversation.messages]
        prompt = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)
        response = tokenizer.encode(conversation.response)
        assert 10 <= len(prompt) <= 14
        assert len(response) + 1 <= 55
        assert tokenizer.unk_token_id not in (*prompt, *response)


def test_the_steps_of_unequal_numbers_pad_with_zero() -> None:
    assert column_steps(7, 995) == "7+5+0=12,0+9+1=10,0+9+1=10"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num": 0}, "num must be at least 1, got 0"),
        ({"min_digits": 0}, "1 <= min_digits <= max_digits, got 0 and 5"),
        ({"min_digits": 4, "max_digits": 3}, "1 <= min_digits <= max_digits, got 4 and 3"),
        (
            {"num": 50, "split": "test", "min_digits": 1, "max_digits": 1},
            r"only \d distinct test problems of 'addition'.*num=50",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict, message: str) -> None:
    for source in (AdditionPrompts, AdditionConversations):
        with pytest.raises(ValueError, match=message):
            source(**settings).load()


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=rf"terse_share must be in \[0, 1\], got {share}"):
        AdditionConversations(terse_share=share)
