import json
import sys
from pathlib import Path

import datasets
import pytest

from lit_rlvr.data.files import PromptFile
from lit_rlvr.data.hub import ConversationHub, PromptHub
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


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("hub_cache")
def test_a_local_folder_and_the_json_format_read_like_the_file(write, tmp_path: Path) -> None:
    path = write(ROW, {"question": "And 2+2?", "answer": "4"}, name="train.jsonl")
    expected = PromptFile(path, source="s", system="S").load()
    assert PromptHub("json", data_files=path, source="s", system="S").load() == expected
    folder = tmp_path / "folder"
    folder.mkdir()
    Path(path).rename(folder / "train.jsonl")
    assert PromptHub(str(folder), source="s", system="S").load() == expected
    assert PromptHub(str(folder), "train[1:]").load()[0].messages == user("And 2+2?")
    assert ConversationHub(str(folder), source="s", limit=1).load() == [Conversation("0", user("What is 1+1?"), "2", "s")]


@pytest.mark.usefixtures("hub_cache")
def test_hub_rows_are_named_by_data_set_split_and_number(write) -> None:
    path = write(ROW, {"question": "q", "answer": ""})
    with pytest.raises(ValueError, match=r"^json\[train\]:2: column 'answer' is empty"):
        PromptHub("json", data_files=path).load()


@pytest.mark.usefixtures("hub_cache")
def test_an_unknown_folder_or_split_is_refused(write, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        PromptHub(str(tmp_path / "nowhere")).load()
    with pytest.raises(ValueError, match="test"):
        PromptHub("json", split="test", data_files=write(ROW)).load()


def test_a_missing_datasets_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"lit_rlvr\[data\]"):
        PromptHub("openai/gsm8k", config="main").load()
