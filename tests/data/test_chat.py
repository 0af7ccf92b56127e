import warnings
from pathlib import Path

import pytest
from transformers import GenerationConfig, PreTrainedTokenizerFast

from lit_rlvr.data.chat import end_token_id, load_tokenizer, render_prompt, render_response, stop_token_ids, tokenize_prompts
from lit_rlvr.data.files import PromptFile
from lit_rlvr.data.lengths import keep_short
from lit_rlvr.data.mapping import PromptFields
from lit_rlvr.data.settings import PromptFormat
from lit_rlvr.tasks.tiny_tokenizer import byte_tokenizer, character_tokenizer
from lit_rlvr.types import Conversation, Prompt


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return character_tokenizer()


def prompt(content: str, name: str = "p") -> Prompt:
    return Prompt(name, ({"role": "user", "content": content},), "1")


def test_a_prompt_ends_with_the_generation_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "system", "content": "1"}, {"role": "user", "content": "12+3="}]
    ids = render_prompt(tokenizer, messages, {})
    assert isinstance(ids, tuple)
    assert tokenizer.convert_ids_to_tokens(ids) == ["<|system|>", "1", "<|user|>", "1", "2", "+", "3", "=", "<|assistant|>"]


def test_earlier_answers_are_closed(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}, {"role": "user", "content": "3"}]
    assert tokenizer.decode(render_prompt(tokenizer, turns, {})) == "<|user|>1<|assistant|>2<|end|><|user|>3<|assistant|>"


def test_template_arguments_reach_the_template(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = "{{ messages[0]['content'] }}{% if not enable_thinking %}<think></think>{% endif %}"
    messages = [{"role": "user", "content": "1"}]
    assert tokenizer.decode(render_prompt(tokenizer, messages, {"enable_thinking": False})) == "1<think></think>"
    assert tokenizer.decode(render_prompt(tokenizer, messages, {"enable_thinking": True})) == "1"


def test_a_missing_chat_template_names_the_mend(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match=r"has no chat template: put a `chat_template\.jinja` into its folder"):
        render_prompt(tokenizer, [{"role": "user", "content": "1"}], {})


def test_a_role_the_template_rejects_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="rejects messages from tool, user: unknown role tool"):
        render_prompt(tokenizer, [{"role": "tool", "content": "1"}, {"role": "user", "content": "1"}], {})


def test_a_response_ends_with_one_end_token(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = render_response(tokenizer, "<think>1+1</think>\\boxed{2}")
    assert ids[-1] == tokenizer.eos_token_id
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<think>1+1</think>\\boxed{2}"
    assert render_response(tokenizer, "<think>1+1</think>\\boxed{2}<|end|>") == ids


def test_prompt_and_response_join_to_the_template_of_the_whole_conversation(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "user", "content": "1+1="}]
    whole = [*messages, {"role": "assistant", "content": "\\boxed{2}"}]
    joined = render_prompt(tokenizer, messages, {}) + render_response(tokenizer, "\\boxed{2}")
    assert list(joined) == tokenizer.apply_chat_template(whole, tokenize=True, return_dict=False)


def test_a_tokenizer_without_an_end_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"{tmp_path}' has no end-of-sequence token.*set `eos_token`"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(ValueError, match="no end-of-sequence token"):
        render_response(tokenizer, "1")


@pytest.mark.parametrize("name", ["nowhere/at/all", "a_folder_that_is_empty"])
def test_a_missing_tokenizer_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "a_folder_that_is_empty").mkdir()
    with pytest.raises(FileNotFoundError, match=f"no tokenizer at '{tmp_path / name}'"):
        load_tokenizer(str(tmp_path / name))


def test_stop_tokens_are_those_of_tokenizer_and_generation_config(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert stop_token_ids(loaded, str(tmp_path)) == (end_token_id(loaded),)
    for configured, expected in ((7, (1, 7)), ([7, 1, 9], (1, 7, 9)), (None, (1,))):
        GenerationConfig(eos_token_id=configured).save_pretrained(tmp_path)
        assert stop_token_ids(loaded, str(tmp_path)) == expected


# -- lengths ------------------------------------------------------------------------------------------------------------


def test_long_prompts_are_an_error_that_names_the_longest(tokenizer: PreTrainedTokenizerFast) -> None:
    prompts = [prompt("1+1=", "short"), prompt("1+111=", "long"), prompt("11111+11111=", "longest")]
    message = "2 of 3 prompts are longer than max_prompt_tokens=6 tokens; the longest is 'longest' with 14"
    with pytest.raises(ValueError, match=message):
        tokenize_prompts(tokenizer, prompts, PromptFormat("t", max_prompt_tokens=6))


def test_long_prompts_can_be_dropped_and_are_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    prompts = [prompt("11111+11111=", "long"), prompt("1+1=", "short"), prompt("1+2=", "other")]
    with pytest.warns(UserWarning, match="1 of 3 prompts are longer.*'long' with 14.*left out"):
        kept = tokenize_prompts(tokenizer, prompts, PromptFormat("t", max_prompt_tokens=6, drop_long_prompts=True))
    assert [p.id for p in kept] == ["short", "other"]


def test_nothing_left_is_an_error_even_when_dropping(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match=r"1 of 1 prompts .* None would be left"):
        tokenize_prompts(tokenizer, [prompt("1+1=")], PromptFormat("t", max_prompt_tokens=5, drop_long_prompts=True))


def test_prompts_at_the_limit_stay_without_a_warning(tokenizer: PreTrainedTokenizerFast) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (kept,) = tokenize_prompts(tokenizer, [prompt("1+1=")], PromptFormat("t", max_prompt_tokens=6))
    assert kept.token_ids == render_prompt(tokenizer, kept.messages, {})
    assert kept.id == "p"


def test_conversations_are_measured_alike() -> None:
    conversations = [Conversation(str(n), (), "") for n in range(3)]
    with pytest.raises(ValueError, match="1 of 3 conversations are longer than max_tokens=5 tokens; the longest is '1' with 6"):
        keep_short(conversations, [5, 6, 1], 5, False, "max_tokens")
    with pytest.warns(UserWarning, match="left out"):
        assert keep_short(conversations, [5, 6, 1], 5, True, "max_tokens") == [conversations[0], conversations[2]]


def test_real_questions_survive_the_byte_tokenizer(real_data) -> None:
    tokenizer = byte_tokenizer()
    fields = PromptFields(answer_pattern="#### (.+)$")
    prompts = PromptFile(str(real_data("gsm8k_test.jsonl")), fields, limit=200).load()
    for rendered in tokenize_prompts(tokenizer, prompts, PromptFormat("t", max_prompt_tokens=2000)):
        assert tokenizer.decode(rendered.token_ids[1:-1]) == rendered.messages[0]["content"]
