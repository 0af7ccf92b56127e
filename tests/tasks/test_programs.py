import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lit_rlvr.data.chat import tokenize_prompts
from lit_rlvr.data.settings import PromptFormat
from lit_rlvr.rewards import CodeReward
from lit_rlvr.sandbox import LocalSandbox
from lit_rlvr.tasks import ProgramConversations, ProgramPrompts, split_of
from lit_rlvr.tasks.programs import CASES, TESTS_PER_CASE, program_text
from lit_rlvr.tasks.tiny_model import TinyModelConfig
from lit_rlvr.tasks.tiny_tokenizer import character_tokenizer
from lit_rlvr.types import Completion, Prompt

CONFIGS = Path(__file__).parents[2] / "configs"
SPLITS = ("train", "validation", "test")
NUM_TESTS = CASES * TESTS_PER_CASE
ROW = re.compile(r"(\d):(\d+),(\d+)")


@pytest.fixture(scope="module")
def soft() -> Iterator[CodeReward]:
    """The real reward, and the real sandbox."""
    reward = CodeReward(field="tests", partial_credit=True, sandbox=LocalSandbox(num_workers=2))
    yield reward
    reward.close()


@pytest.fixture(scope="module")
def settings() -> TinyModelConfig:
    model = yaml.safe_load((CONFIGS / "quickstart/code_model.yaml").read_text())["model"]
    return TinyModelConfig(alphabet=model["alphabet"], words=tuple(model["words"]))


def shown(prompt: Prompt) -> list[tuple[int, int]]:
    """Slope and intercept of each case, worked out from the examples that the policy sees."""
    rows = [ROW.fullmatch(row).groups() for row in prompt.messages[0]["content"].split("\n")]
    assert [row[0] for row in rows] == [str(case) for case in range(CASES)]
    return [(int(second) - int(first), int(first)) for _, first, second in rows]


def score(reward: CodeReward, prompt: Prompt, text: str) -> float:
    verdict = reward(prompt, Completion((), (), "stop", text=text))
    assert verdict.score is not None, verdict.detail
    return verdict.score


def test_the_examples_determine_the_function_that_is_tested() -> None:
    for prompt in ProgramPrompts(num=300).load():
        lines = shown(prompt)
        tests = prompt.metadata["tests"]
        inputs = [tuple(map(int, test["input"].split())) for test in tests]
        assert len(set(inputs)) == len(tests) == NUM_TESTS
        assert [k for k, _ in inputs] == sorted(list(range(CASES)) * TESTS_PER_CASE)
        assert all(n > 1 for _, n in inputs)  # none of them is in the prompt
        assert [int(test["output"]) for test in tests] == [lines[k][0] * n + lines[k][1] for k, n in inputs]
        assert prompt.answer == program_text(lines)


def test_prompts_are_the_same_at_every_load_and_splits_share_none() -> None:
    first = ProgramPrompts("test", 300).load()
    assert ProgramPrompts("test", 300).load() == first
    assert ProgramPrompts("test", 100).load() == first[:100]
    assert ProgramConversations(num=50, seed=4).load() == ProgramConversations(num=50, seed=4).load()
    assert ProgramConversations(num=50, seed=4).load() != ProgramConversations(num=50, seed=5).load()
    keys = {
        split: {p.id for seed in range(2) for p in ProgramPrompts(split, 400, seed).load()}
        | {c.id for c in ProgramConversations(split, 400, 7).load()}
        for split in SPLITS
    }
    assert not keys["train"] & keys["validation"]
    assert not keys["train"] & keys["test"]
    assert not keys["validation"] & keys["test"]
    assert all(split_of(key) == split for split in SPLITS for key in keys[split])
    assert len(keys["test"]) < 1200  # the seeds did overlap, so that a leak would show


def test_careful_demonstrations_pass_every_test(soft: CodeReward) -> None:
    prompts, careful = ProgramPrompts(num=25).load(), ProgramConversations(num=25, lazy_share=0, slip_rate=0).load()
    for prompt, conversation in zip(prompts, careful, strict=True):
        assert (prompt.id, prompt.messages) == (conversation.id, conversation.messages)
        assert score(soft, prompt, conversation.response) == 1.0


def test_a_forgotten_case_costs_its_tests_and_slips_cost_theirs(soft: CodeReward) -> None:
    prompts = ProgramPrompts(num=25).load()
    lazy = ProgramConversations(num=25, lazy_share=1, slip_rate=0).load()
    for prompt, conversation in zip(prompts, lazy, strict=True):
        lines = shown(prompt)
        # The last branch that is left answers for the forgotten case too: wrong, unless the two lines are one.
        expected = 1.0 if lines[-1] == lines[-2] else (CASES - 1) / CASES
        assert score(soft, prompt, conversation.response) == pytest.approx(expected)
    for prompt, conversation in zip(prompts, ProgramConversations(num=25, lazy_share=0, slip_rate=1).load(), strict=True):
        assert score(soft, prompt, conversation.response) == 0.0
    scores = [
        score(soft, prompt, conversation.response)
        for prompt, conversation in zip(prompts, ProgramConversations(num=25, lazy_share=0, slip_rate=0.5).load(), strict=True)
    ]
    assert {round(CASES * value) for value in scores} == {0, 1, 2, 3}
    assert all(CASES * value == pytest.approx(round(CASES * value)) for value in scores)


def test_soft_pays_for_a_share_and_hard_for_all(soft: CodeReward) -> None:
    hard = CodeReward(field="tests", sandbox=soft.sandbox)
    (prompt,) = ProgramPrompts(num=1).load()
    for right in range(CASES + 1):
        lines = [line if case < right else (line[0], line[1] + 1) for case, line in enumerate(shown(prompt))]
        response = f"```python\n{program_text(lines)}\n```"
        assert score(soft, prompt, response) == pytest.approx(right / CASES)
        assert score(hard, prompt, response) == float(right == CASES)
    other = "```python\nk = int(input())\nn = int(input())\nprint([a * n + b for a, b in %r][k])\n```"
    assert score(soft, prompt, other % shown(prompt)) == 1.0  # any right program is right, not only ours
    for broken in (program_text(shown(prompt)), "```python\nprint(\n```", "```python\nimport os\nprint(os.environ)\n```"):
        assert score(soft, prompt, broken) == 0.0


def test_the_share_of_carelessness() -> None:
    def missing(**settings: float) -> float:
        responses = [c.response for c in ProgramConversations(num=1000, slip_rate=0, **settings).load()]
        return sum(response.count("print(") < CASES for response in responses) / len(responses)

    assert (missing(lazy_share=0.0), missing(lazy_share=1.0)) == (0.0, 1.0)
    assert missing(lazy_share=0.6) == pytest.approx(0.6, abs=0.06)
    careless = ProgramConversations(num=1000, lazy_share=0, slip_rate=0.2).load()
    careful = ProgramConversations(num=1000, lazy_share=0, slip_rate=0).load()
    pairs = [
        (ours, theirs)
        for a, b in zip(careless, careful, strict=True)
        for ours, theirs in zip(a.response.split("\n"), b.response.split("\n"), strict=True)
        if "print" in ours
    ]
    assert sum(ours != theirs for ours, theirs in pairs) / len(pairs) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("name", ["lazy_share", "slip_rate"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_share_outside_its_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be in \[0, 1\], got {value}"):
        ProgramConversations(**{name: value})


def test_rows_survive_the_chat_template_and_fit_the_settings(settings: TinyModelConfig, tmp_path: Path) -> None:
    tokenizer = character_tokenizer(settings.alphabet, settings.words)
    tokenizer.save_pretrained(tmp_path)
    rl = yaml.safe_load((CONFIGS / "quickstart/code_rl.yaml").read_text())
    limit = rl["data"]["init_args"]["sampling"]["max_tokens"]
    prompts = ProgramPrompts(num=500).load()
    for prompt, tokenized in zip(prompts, tokenize_prompts(tokenizer, prompts, PromptFormat(str(tmp_path))), strict=True):
        assert tokenizer.unk_token_id not in tokenized.token_ids
        assert tokenizer.decode(tokenized.token_ids, skip_special_tokens=True) == prompt.messages[0]["content"]
        assert tokenized.metadata == prompt.metadata
        assert len(tokenized.token_ids) < 30
    for conversation in ProgramConversations(num=500, slip_rate=0.5).load():
        ids = tokenizer.encode(conversation.response)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == conversation.response
        assert len(ids) < min(limit, 60)


def test_pieces_of_python_are_one_token_and_the_default_is_as_before(settings: TinyModelConfig) -> None:
    tokenizer = character_tokenizer(settings.alphabet, settings.words)
    for word in settings.words:
        (index,) = tokenizer.encode(word)
        assert index not in tokenizer.all_special_ids
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("elif k==1:")) == ["elif ", "k", "=", "=", "1", ":"]
    assert character_tokenizer().get_vocab() == character_tokenizer(words=()).get_vocab()
    assert not set(settings.words) & set(character_tokenizer().get_vocab())
