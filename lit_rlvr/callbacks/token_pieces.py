"""The text of each token of a sequence, also where one character is spread over several tokens."""

from collections.abc import Sequence
from itertools import groupby

from transformers import PreTrainedTokenizerBase

BROKEN = "\ufffd"
"""What a decoder writes for bytes that are no complete character."""
MAX_TOKENS_OF_CHARACTER = 4
"""UTF-8 has at most four bytes to a character, and a token at least one byte."""


def token_pieces(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> list[str]:
    r"""Return the text of each token, special tokens included; joined, the pieces are the text of the whole sequence.

    A character that several tokens make up belongs to the last of them; the others have an empty piece. Bytes that never become a
    character are `\ufffd`; how many of them a malformed stretch shows may differ from decoding it as a whole.
    """
    singles = {token_id: _decode(tokenizer, [token_id]) for token_id in set(token_ids)}
    pieces: list[str] = []
    for is_partial, run in groupby(token_ids, lambda token_id: BROKEN in singles[token_id]):
        ids = list(run)
        pieces += _incremental(tokenizer, ids) if is_partial else [singles[token_id] for token_id in ids]
    if "".join(pieces).replace(BROKEN, "") == _decode(tokenizer, token_ids).replace(BROKEN, ""):
        return pieces
    # Some tokenizers decode a token by its neighbours (a space before every word but the first): slow, but always right.
    return _incremental(tokenizer, token_ids)


def _incremental(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> list[str]:
    """Decode token by token, each with its predecessor as context, holding back what may be half a character."""
    pieces = [""] * len(token_ids)
    context = start = 0  # tokens before `start` have their piece; those from `context` on give the decoder its context

    def text(end: int) -> str:
        known = _decode(tokenizer, token_ids[context:start])
        return _decode(tokenizer, token_ids[context:end])[len(known) :]

    for end in range(1, len(token_ids) + 1):
        while start < end:
            new = text(end)
            if not new.startswith(BROKEN) and not new.endswith(BROKEN):
                pieces[end - 1] = new
                context, start = start, end
            elif new.endswith(BROKEN) and end - start < MAX_TOKENS_OF_CHARACTER and end < len(token_ids):
                break
            else:
                pieces[start] = text(start + 1)
                context, start = start, start + 1
    return pieces


def _decode(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> str:
    text = tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text
