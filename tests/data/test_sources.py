import json
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from lit_rlvr.data.files import PromptFile
from lit_rlvr.data.mapping import PromptFields
from lit_rlvr.data.sources import PromptSource
from lit_rlvr.types import Prompt

ROW = {"question": "What is 1+1?", "answer": "2"}


@pytest.fixture
def write(tmp_path: Path):
    def write_rows(*rows: object, name: str = "rows.jsonl") -> str:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / name)

    return write_rows


def user(content: str) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": content},)


def test_rows_become_prompts_in_order(write) -> None:
    prompts = PromptFile(write(ROW, {"question": "And 2+2?", "answer": 4})).load()
    assert prompts == [Prompt("0", user("What is 1+1?"), "2", "rows"), Prompt("1", user("And 2+2?"), "4", "rows")]


@pytest.mark.parametrize(
    ("value", "text"), [(27.0, "27"), (0.5, "0.5"), (-3, "-3"), (r"\frac{1}{2}", r"\frac{1}{2}"), (" 7 ", "7")]
)
def test_numbers_and_strings_are_answers(write, value: object, text: str) -> None:
    assert PromptFile(write({"question": "q", "answer": value})).load()[0].answer == text


def test_dotted_columns_chat_lists_sources_and_metadata(write) -> None:
    # The row format of Klear's and Archer's published data.
    row = {
        "data_source": "math_longcot",
        "prompt": [{"content": "Find x.", "role": "user"}],
        "reward_model": {"ground_truth": "4", "style": "rule"},
        "extra_info": {"index": 17},
        "final": [["a"], {"b": 1}],
    }
    fields = PromptFields("prompt", "reward_model.ground_truth", "extra_info.index", "data_source", ("final", "final.1.b"))
    assert PromptFile(write(row), fields).load() == [
        Prompt("17", user("Find x."), "4", "math_longcot", metadata={"final": [["a"], {"b": 1}], "final.1.b": 1})
    ]


def test_a_column_whose_name_has_dots_wins(write) -> None:
    row = {"question": "q", "a.b": "flat", "a": {"b": "nested"}}
    assert PromptFile(write(row), PromptFields(answer="a.b")).load()[0].answer == "flat"


def test_template_and_system_apply_to_questions_and_chats(write) -> None:
    template = "{question}\nPut the answer in \\boxed{}."
    chat = [
        {"role": "user", "content": "Hi {x}"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "1+1?"},
    ]
    rows = write({"question": "{2}^2?", "answer": "4"}, {"question": chat, "answer": "2"})
    first, second = PromptFile(rows, PromptFields(template=template), system="Be brief.").load()
    system = {"role": "system", "content": "Be brief."}
    assert first.messages == (system, *user("{2}^2?\nPut the answer in \\boxed{}."))
    assert second.messages == (system, *chat[:2], *user("1+1?\nPut the answer in \\boxed{}."))


def test_the_last_match_of_the_pattern_is_the_answer(write) -> None:
    row = {"question": "q", "answer": "#### 3 so far\nthen\n#### 1,234 "}
    pattern = PromptFields(answer_pattern="#### (.+)")
    assert PromptFile(write(row), pattern).load()[0].answer == "1,234"
    stripped = PromptFields(answer_pattern="#### (.+)", strip_commas=True)
    assert PromptFile(write(row), stripped).load()[0].answer == "1234"


def test_limit_takes_the_first_rows_and_reads_no_further(write) -> None:
    path = write(ROW, {"question": "second", "answer": "1"}, {"broken": True})
    assert [p.messages[0]["content"] for p in PromptFile(path, limit=2).load()] == ["What is 1+1?", "second"]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_leaves_nothing_is_refused(write, limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit must be at least 1.*{limit}"):
        PromptFile(write(ROW), limit=limit).load()


@pytest.mark.parametrize(
    ("bad", "fields", "message"),
    [
        (
            {"qestion": "q", "answer": "1"},
            PromptFields(),
            r"no column 'question' \(did you mean 'qestion'\?\); the columns are: qestion, answer; `fields.prompt`",
        ),
        ({"question": "q", "x": "1"}, PromptFields(), r"no column 'answer'; the columns are: question, x; `fields.answer`"),
        (
            {"question": "q", "r": {"truth": "1"}},
            PromptFields(answer="r.thruth"),
            r"did you mean 'r.truth'\?\); 'r' holds: truth",
        ),
        ({"question": "q", "r": "1"}, PromptFields(answer="r.truth"), "no column 'r.truth'; 'r' holds: nothing"),
        ({"question": "q", "r": ["1"]}, PromptFields(answer="r.1"), "no column 'r.1'; 'r' holds: 0"),
        ({"question": "q", "answer": "1"}, PromptFields(metadata=("tests",)), "no column 'tests'.*`fields.metadata`"),
        ({"question": "q", "answer": "1"}, PromptFields(id="key"), "no column 'key'.*`fields.id`"),
        ({"question": " ", "answer": "1"}, PromptFields(), "column 'question' is empty"),
        (
            {"question": None, "answer": "1"},
            PromptFields(),
            "column 'question' must be a string or a list of chat messages, found NoneType",
        ),
        ({"question": [], "answer": "1"}, PromptFields(), "column 'question' must be .* found an empty list"),
        ({"question": ["hi"], "answer": "1"}, PromptFields(), "message 1 must be an object"),
        (
            {"question": [{"role": "user"}], "answer": "1"},
            PromptFields(),
            "message 1 needs a string 'content', found the keys role",
        ),
        ({"question": [{"role": "user", "content": ""}], "answer": "1"}, PromptFields(), "message 1, 'content' is empty"),
        (
            {"question": [{"role": "assistant", "content": "x"}], "answer": "1"},
            PromptFields(),
            "the last message of a prompt must be from 'user', found 'assistant'",
        ),
        ({"question": "q", "answer": ""}, PromptFields(), "column 'answer' is empty"),
        ({"question": "q", "answer": None}, PromptFields(), "column 'answer' must be a string or a number, found NoneType"),
        ({"question": "q", "answer": ["1"]}, PromptFields(), "column 'answer' must be a string or a number, found list"),
        ({"question": "q", "answer": True}, PromptFields(), "column 'answer' must be a string or a number, found bool"),
        (
            {"question": "q", "answer": "so 5"},
            PromptFields(answer_pattern="#### (.+)"),
            "does not match `fields.answer_pattern`.*so 5",
        ),
        (
            {"question": "q", "answer": "#### ,"},
            PromptFields(answer_pattern="#### (.+)", strip_commas=True),
            "the answer .* is empty",
        ),
    ],
)
def test_a_bad_row_is_named_with_its_place_and_column(write, bad: dict, fields: PromptFields, message: str) -> None:
    path = write(bad)
    with pytest.raises(ValueError, match=message) as error:
        PromptFile(path, fields).load()
    assert str(error.value).startswith(f"{path}:1: ")


def test_repeated_ids_are_named_with_both_places(write) -> None:
    path = write(ROW | {"key": "a"}, ROW | {"key": "b"}, ROW | {"key": "a"})
    with pytest.raises(ValueError, match=r"rows\.jsonl:3: id 'a' was already used at .*rows\.jsonl:1"):
        PromptFile(path, PromptFields(id="key")).load()


def test_two_system_messages_are_refused(write) -> None:
    path = write({"question": [{"role": "system", "content": "s"}, *user("q")], "answer": "1"})
    assert len(PromptFile(path).load()[0].messages) == 2
    with pytest.raises(ValueError, match=":1: the row has a system message of its own"):
        PromptFile(path, system="Another.").load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"template": "Answer:"}, r"template 'Answer:' has no {question}"),
        ({"answer_pattern": "("}, r"answer_pattern '\(' is not a regular expression"),
        ({"answer_pattern": "#### .+"}, "must have exactly one group for the answer, it has 0"),
        ({"answer_pattern": "(a)(b)"}, "must have exactly one group for the answer, it has 2"),
        ({"answer_pattern": "None"}, r"it has 0; as a flag, write a leading `#` as `\\#`"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PromptFields(**settings)


def test_settings_with_a_hash_survive_a_configuration_file_and_escaped_a_flag(write, tmp_path: Path) -> None:
    # YAML takes `#` for a comment; a setting that silently became None would make whole solutions the answers.
    path = write({"question": "q", "answer": "long\n#### 5"})
    init_args = {"path": path, "fields": {"answer_pattern": "#### (.+)"}, "system": "# Role"}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"source": {"class_path": "lit_rlvr.data.files.PromptFile", "init_args": init_args}}))
    parser = ArgumentParser(parser_mode="omegaconf+")
    parser.add_argument("--config", action="config")
    parser.add_argument("--source", type=PromptSource)
    for flags in ([], [r"--source.fields.answer_pattern=\#### (.+)"]):
        source = parser.instantiate(parser.parse_args([f"--config={config}", *flags])).source
        (prompt,) = source.load()
        assert prompt.answer == "5"
        assert prompt.messages[0] == {"role": "system", "content": "# Role"}
