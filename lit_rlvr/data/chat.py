"""From chat messages to tokens, through the tokenizer's chat template."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

from lit_rlvr.data.lengths import keep_short
from lit_rlvr.data.settings import PromptFormat
from lit_rlvr.types import Prompt


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or the Hugging Face hub, and require an end-of-sequence token.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when it has no end-of-sequence token.
    """
    folder = Path(name_or_path)
    if folder.is_dir() and not [*folder.glob("*token*"), *folder.glob("vocab*")]:
        raise FileNotFoundError(f"no tokenizer at {name_or_path!r}: the folder holds no tokenizer files")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path)
    except OSError as error:
        raise FileNotFoundError(
            f"no tokenizer at {name_or_path!r}: it is neither a folder with a tokenizer nor a model of the Hugging Face hub "
            f"that could be downloaded ({str(error).splitlines()[0]})"
        ) from error
    end_token_id(tokenizer)
    return tokenizer


def end_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the end-of-sequence token's id.

    Raises:
        ValueError: when the tokenizer has none.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer {tokenizer.name_or_path!r} has no end-of-sequence token, so no response could end: "
            "set `eos_token` in its tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)


def stop_token_ids(tokenizer: PreTrainedTokenizerBase, model: str) -> tuple[int, ...]:
    """Return every token that ends a completion: the tokenizer's, and those of a generation_config.json where there is one.

    Args:
        tokenizer: its end-of-sequence token comes first.
        model: folder or hub name in which to look for a generation_config.json.
    """
    stops = [end_token_id(tokenizer)]
    file = cached_file(model, "generation_config.json", _raise_exceptions_for_missing_entries=False)
    if file is not None:
        configured = GenerationConfig.from_pretrained(model).eos_token_id
        stops += configured if isinstance(configured, list) else [configured] if configured is not None else []
    return tuple(dict.fromkeys(stops))


def render_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]], template_kwargs: Mapping[str, Any]
) -> tuple[int, ...]:
    """Return the tokens of the messages, ending with the generation prompt.

    Raises:
        ValueError: when the tokenizer has no chat template, or the template rejects the messages.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template: put a `chat_template.jinja` into its folder, or "
            "use the tokenizer of the model's chat version"
        )
    conversation = [dict(message) for message in messages]
    try:
        ids = tokenizer.apply_chat_template(
            conversation, tokenize=True, add_generation_prompt=True, return_dict=False, **template_kwargs
        )
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in conversation)
        raise ValueError(f"the chat template of {tokenizer.name_or_path!r} rejects messages from {roles}: {error}") from error
    return tuple(ids)


def render_response(tokenizer: PreTrainedTokenizerBase, response: str) -> tuple[int, ...]:
    """Return the tokens of a response to imitate, ending with one end-of-sequence token."""
    end = end_token_id(tokenizer)
    ids = tuple(tokenizer.encode(response, add_special_tokens=False))
    return ids if ids[-1:] == (end,) else (*ids, end)


def tokenize_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], format: PromptFormat) -> list[Prompt]:
    """Return the prompts with their `token_ids`, without those that are too long when the format drops them.

    Raises:
        ValueError: when a prompt is longer than `format.max_prompt_tokens` and the format does not drop it, or when all are.
    """
    rendered = [replace(p, token_ids=render_prompt(tokenizer, p.messages, format.template_kwargs)) for p in prompts]
    lengths = [len(prompt.token_ids) for prompt in rendered]
    return keep_short(rendered, lengths, format.max_prompt_tokens, format.drop_long_prompts, "max_prompt_tokens")
