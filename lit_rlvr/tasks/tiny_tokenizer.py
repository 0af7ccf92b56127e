"""Tokenizers that need no training corpus: one token a character or a byte, and a few words."""

import re
import string
from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, END, UNKNOWN = "<|pad|>", "<|end|>", "<|unk|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
"""The marks that open a chat turn; only an assistant's turn is closed, by `<|end|>`."""
WORDS = ("<think>", "</think>", "\\boxed{")
"""Ordinary text that is one token each. Not special: decoding keeps them, so that a verifier sees them."""
ARITHMETIC = string.digits + "+-*/=,. ()}\n"
"""The characters of the procedural tasks."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message['role']) }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def character_tokenizer(alphabet: str = ARITHMETIC, words: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Return a tokenizer with a token for each character of the alphabet, each of `WORDS` and each of `words`.

    Other characters become `<|unk|>`. Where two words begin, the longer one is taken.
    """
    vocabulary = _vocabulary(dict.fromkeys([*words, *alphabet]))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    units = "|".join(map(re.escape, sorted([*WORDS, *words], key=len, reverse=True)))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(rf"{units}|[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return _as_pretrained(tokenizer)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with a token for each byte of UTF-8 and each of `WORDS`: it can write any text."""
    vocabulary = _vocabulary(sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[], unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(word, normalized=False, special=False) for word in WORDS])
    return _as_pretrained(tokenizer)


def _vocabulary(symbols: dict[str, None] | list[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate((PAD, END, UNKNOWN, *ROLES, *WORDS, *symbols))}


def _as_pretrained(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        extra_special_tokens=list(ROLES),
        clean_up_tokenization_spaces=False,
        padding_side="right",
        chat_template=CHAT_TEMPLATE,
    )
