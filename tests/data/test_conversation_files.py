import json
from pathlib import Path

import pytest

from lit_rlvr.data.files import ConversationFile
from lit_rlvr.data.mapping import ConversationFields
from lit_rlvr.types import Conversation

ROW = {"question": "What is 1+1?", "answer": "2"}


@pytest.fixture
def write(tmp_path: Path):
    def write_rows(*rows: object, name: str = "rows.jsonl") -> str:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / name)

    return write_rows


def user(content: str) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": content},)


def test_rows_become_conversations(write) -> None:
    path = write(ROW | {"set": "easy", "key": 5})
    fields = ConversationFields(id="key", source="set", template="Q: {question}")
    assert ConversationFile(path, fields).load() == [Conversation("5", user("Q: What is 1+1?"), "2", "easy")]
    assert ConversationFile(path).load() == [Conversation("0", user("What is 1+1?"), "2", "rows")]


@pytest.mark.parametrize("keys", [("role", "content", "user", "assistant"), ("from", "value", "human", "gpt")])
def test_the_last_message_can_be_the_response(write, keys: tuple[str, str, str, str]) -> None:
    role, content, asks, answers = keys
    turns = [(asks, "Hi"), (answers, "Hello"), (asks, "1+1?"), (answers, "<think>1+1</think>2")]
    path = write({"messages": [{role: who, content: what} for who, what in turns]})
    (conversation,) = ConversationFile(path, ConversationFields("messages", None), system="S").load()
    assert conversation.response == "<think>1+1</think>2"
    assert [(m["role"], m["content"]) for m in conversation.messages] == [
        ("system", "S"),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "1+1?"),
    ]


@pytest.mark.parametrize(
    ("bad", "fields", "message"),
    [
        (
            {"question": "q", "anser": "1"},
            ConversationFields(),
            r"no column 'answer' \(did you mean 'anser'\?\).*`fields.response`",
        ),
        ({"question": "q", "answer": "\n"}, ConversationFields(), "column 'answer' is empty"),
        ({"question": "", "answer": "1"}, ConversationFields(), "column 'question' is empty"),
        ({"question": "q", "answer": {}}, ConversationFields(), "column 'answer' must be a string or a number, found dict"),
        (
            {"question": list(user("q"))},
            ConversationFields(response=None),
            "the last message must be from 'assistant', found 'user'.*`fields.response`",
        ),
        (
            {"question": [{"role": "assistant", "content": "x"}]},
            ConversationFields(response=None),
            "the last message of a prompt must be from 'user', found 'no message'",
        ),
    ],
)
def test_a_bad_example_is_named_with_its_place(write, bad: dict, fields: ConversationFields, message: str) -> None:
    path = write(bad)
    with pytest.raises(ValueError, match=message) as error:
        ConversationFile(path, fields).load()
    assert str(error.value).startswith(f"{path}:1: ")


def test_repeated_ids_of_examples_are_refused(write) -> None:
    with pytest.raises(ValueError, match="id '2' was already used"):
        ConversationFile(write(ROW, ROW), ConversationFields(id="answer")).load()


def test_a_template_without_a_question_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no {question}"):
        ConversationFields(template="x")
