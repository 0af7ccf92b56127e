"""From conversations to the tokens of a supervised row."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from lit_rlvr.data.chat import render_prompt, render_response
from lit_rlvr.data.lengths import keep_short
from lit_rlvr.data.settings import ChatFormat
from lit_rlvr.types import Conversation


@dataclass(frozen=True)
class EncodedConversation:
    """The tokens of one supervised row."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    """Ends with the end-of-sequence token."""

    @property
    def length(self) -> int:
        """Tokens of prompt and response together."""
        return len(self.prompt) + len(self.response)


def encode_conversations(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    format: ChatFormat,
    max_tokens: int,
    drop_long: bool,
) -> list[EncodedConversation]:
    """Return the tokens of each conversation of at most `max_tokens`.

    Raises:
        ValueError: a conversation is longer and `drop_long` is False, or none is left.
    """
    rows = {
        id(conversation): EncodedConversation(
            render_prompt(tokenizer, conversation.messages, format.template_kwargs),
            render_response(tokenizer, conversation.response),
        )
        for conversation in conversations
    }
    kept = keep_short(conversations, [row.length for row in rows.values()], max_tokens, drop_long, "max_tokens")
    return [rows[id(conversation)] for conversation in kept]
