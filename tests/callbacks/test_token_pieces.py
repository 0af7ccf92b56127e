"""Tokens as text: characters spread over tokens, tokenizers that look at neighbours, bytes that are no text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from lit_rlvr.callbacks.token_pieces import BROKEN, token_pieces
from lit_rlvr.tasks.tiny_tokenizer import byte_tokenizer

BYTES = byte_tokenizer()


def words_with_byte_fallback() -> PreTrainedTokenizerFast:
    """A tokenizer as sentencepiece makes them: a word brings its space along, unless it is the first."""
    vocabulary = {"<unk>": 0, "▁a": 1, "▁b": 2, "c": 3} | {f"<0x{byte:02X}>": 4 + byte for byte in range(256)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_the_last_token_of_a_character_shows_it() -> None:
    ids = BYTES("a≠😀<think>\n<|end|>")["input_ids"]
    assert token_pieces(BYTES, ids) == ["a", "", "", "≠", "", "", "", "😀", "<think>", "\n", "<|end|>"]


def test_spaces_that_depend_on_the_neighbour_are_kept() -> None:
    ids = [1, 2, 3, 4 + 0xE2, 4 + 0x89, 4 + 0xA0, 2, 1]
    assert token_pieces(words_with_byte_fallback(), ids) == ["a", " b", "c", "", "", "≠", " b", " a"]


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        (b"\xc3a", [BROKEN, "a"]),
        (b"a\xc3", ["a", BROKEN]),
        (b"\x80\x80\x80\xf0\x9f\x98\x80", [BROKEN, BROKEN, BROKEN, "", "", "", "😀"]),
        (b"", []),
    ],
)
def test_bytes_that_are_no_character_are_shown_where_they_are(content: bytes, pieces: list[str]) -> None:
    symbols = {byte: symbol for symbol, byte in zip(*byte_symbols(), strict=True)}
    ids = [BYTES.convert_tokens_to_ids(symbols[byte]) for byte in content]
    assert token_pieces(BYTES, ids) == pieces


def byte_symbols() -> tuple[list[str], list[int]]:
    """Return the symbols that byte-level tokenizers write bytes with, and the bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return [*map(chr, plain), *(chr(256 + i) for i in range(len(others)))], [*plain, *others]


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=BROKEN)))
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    ids = BYTES(text)["input_ids"]
    pieces = token_pieces(BYTES, ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == text
