"""From a row's columns to a prompt or a conversation."""

import re
from dataclasses import dataclass

from lit_rlvr.data.columns import column, scalar
from lit_rlvr.data.messages import Message, check_prompt, read_messages
from lit_rlvr.data.rows import Row
from lit_rlvr.types import Conversation, Prompt

QUESTION = "{question}"
WHOLE_TEXT = "(?s)^(.*)$"


@dataclass(frozen=True)
class PromptFields:
    """Which columns make a prompt. Dots go into nested objects and lists: `reward_model.ground_truth`, `final_answer.0`."""

    prompt: str = "question"
    """The question as a string, or a list of chat messages that ends with a user turn."""
    answer: str = "answer"
    """The verifiable answer: a string or a number."""
    id: str | None = None
    """A unique name of the problem; None numbers the rows from 0."""
    source: str | None = None
    """The data set's name, for metrics by source; None gives every row the name of the file or hub data set."""
    metadata: tuple[str, ...] = ()
    """Columns a reward function needs besides the answer; they keep their names."""
    answer_pattern: str = WHOLE_TEXT
    r"""Regular expression whose one group, in its last match, is the answer: `\#### (.+)` for GSM8K. All of the text by default."""
    strip_commas: bool = False
    """Remove the commas of the answer: `1,234` becomes `1234`."""
    template: str = QUESTION
    r"""The last user turn, `{question}` being the question: `{question}\nPut the answer in \boxed{}.` (other braces stay)."""

    def __post_init__(self) -> None:
        """Reject a template without a question and a pattern that cannot work."""
        _check_template(self.template)
        _compile(self.answer_pattern)


@dataclass(frozen=True)
class ConversationFields:
    """Which columns make a supervised example. Dots go into nested objects and lists."""

    prompt: str = "question"
    """The question as a string, or a list of chat messages."""
    response: str | None = "answer"
    """The response to imitate; None takes the last message of the chat list, which must be from the assistant."""
    id: str | None = None
    """A unique name of the example; None numbers the rows from 0."""
    source: str | None = None
    """The data set's name; None gives every row the name of the file or hub data set."""
    template: str = QUESTION
    """The last user turn, `{question}` being the question (other braces stay)."""

    def __post_init__(self) -> None:
        """Reject a template without a question."""
        _check_template(self.template)


def prompt_from_row(row: Row, fields: PromptFields, number: int, system: str, source: str) -> Prompt:
    """Return the prompt of a row.

    Raises:
        ValueError: naming file, row and column, when one is missing, empty or of a wrong type, or the answer does not match.
    """
    messages = read_messages(column(row, fields.prompt, "fields.prompt"), row.place, fields.prompt)
    check_prompt(messages, row.place, fields.prompt)
    return Prompt(
        id=_identifier(row, fields.id, number),
        messages=_finish(messages, fields.template, system, row.place),
        answer=_answer(row, fields),
        source=source if fields.source is None else scalar(row, fields.source, "fields.source"),
        metadata={name: column(row, name, "fields.metadata") for name in fields.metadata},
    )


def conversation_from_row(row: Row, fields: ConversationFields, number: int, system: str, source: str) -> Conversation:
    """Return the supervised example of a row.

    Raises:
        ValueError: naming file, row and column, when one is missing, empty or of a wrong type.
    """
    messages = read_messages(column(row, fields.prompt, "fields.prompt"), row.place, fields.prompt)
    if fields.response is None:
        if messages[-1]["role"] != "assistant":
            raise ValueError(
                f"{row.place}: column {fields.prompt!r}: the last message must be from 'assistant', found "
                f"{messages[-1]['role']!r}; name the response's column in `fields.response`"
            )
        messages, response = messages[:-1], messages[-1]["content"]
    else:
        response = scalar(row, fields.response, "fields.response")
    check_prompt(messages, row.place, fields.prompt)
    return Conversation(
        id=_identifier(row, fields.id, number),
        messages=_finish(messages, fields.template, system, row.place),
        response=response,
        source=source if fields.source is None else scalar(row, fields.source, "fields.source"),
    )


def _answer(row: Row, fields: PromptFields) -> str:
    text = scalar(row, fields.answer, "fields.answer")
    matches = _compile(fields.answer_pattern).findall(text)
    if not matches:
        raise ValueError(
            f"{row.place}: column {fields.answer!r} does not match `fields.answer_pattern` {fields.answer_pattern!r}: "
            f"...{text[-80:]!r}"
        )
    answer = (matches[-1].replace(",", "") if fields.strip_commas else matches[-1]).strip()
    if not answer:
        raise ValueError(f"{row.place}: the answer taken from column {fields.answer!r} is empty")
    return answer


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"answer_pattern {pattern!r} is not a regular expression: {error}") from error
    if compiled.groups != 1:
        # A flag's value is YAML, where `#` opens a comment: a pattern that starts with it arrives as None.
        hint = r"; as a flag, write a leading `#` as `\#`" if pattern == "None" else ""
        raise ValueError(
            f"answer_pattern {pattern!r} must have exactly one group for the answer, it has {compiled.groups}{hint}"
        )
    return compiled


def _identifier(row: Row, path: str | None, number: int) -> str:
    return str(number) if path is None else scalar(row, path, "fields.id")


def _finish(messages: tuple[Message, ...], template: str, system: str, place: str) -> tuple[Message, ...]:
    last = {"role": messages[-1]["role"], "content": template.replace(QUESTION, messages[-1]["content"])}
    if not system:
        return (*messages[:-1], last)
    if messages[0]["role"] == "system":
        raise ValueError(f"{place}: the row has a system message of its own; leave `system` out or remove it from the rows")
    return ({"role": "system", "content": system}, *messages[:-1], last)


def _check_template(template: str) -> None:
    if QUESTION not in template:
        raise ValueError(f"template {template!r} has no {QUESTION}: the question would not be in the prompt")
