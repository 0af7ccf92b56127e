import gzip
import json
import sys
from pathlib import Path

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

from lit_rlvr.data.rows import read_rows

ROWS = [{"question": f"{n}+1? é\u2028", "answer": {"value": str(n + 1), "steps": [n, 1]}} for n in range(5)]


def write_lines(path: Path, rows: list) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def values(path: str | Path) -> list:
    return [row.values for row in read_rows(str(path))]


@pytest.mark.parametrize(
    "name", ["rows.jsonl", "rows.json", "rows.ndjson", "rows.jsonl.gz", "rows.parquet", "memory", "rows*.jsonl"]
)
def test_every_format_and_place_reads_the_same_rows(tmp_path: Path, name: str) -> None:
    plain = write_lines(tmp_path / "rows.jsonl", ROWS)
    path = str(tmp_path / name)
    if name.endswith(".gz"):
        Path(path).write_bytes(gzip.compress(plain.read_bytes()))
    elif name.endswith(".parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif name == "memory":
        path = "memory://folder/rows.jsonl"
        with fsspec.open(path, "wb") as file:
            file.write(plain.read_bytes())
    elif "*" not in name and name != "rows.jsonl":
        write_lines(Path(path), ROWS)
    assert values(path) == ROWS


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_row_knows_its_file_and_number(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    if suffix == "jsonl":
        write_lines(path, ROWS)
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=2)
    assert [row.place for row in read_rows(str(path))] == [f"{path}:{n}" for n in range(1, 6)]


def test_a_glob_reads_files_in_the_order_of_their_names_and_names_each(tmp_path: Path) -> None:
    for name, row in (("b.jsonl", ROWS[1]), ("a.jsonl", ROWS[0]), ("c.txt", ROWS[2])):
        write_lines(tmp_path / name, [row])
    rows = list(read_rows(str(tmp_path / "*.jsonl")))
    assert [row.values for row in rows] == ROWS[:2]
    assert [row.place for row in rows] == [f"{tmp_path}/a.jsonl:1", f"{tmp_path}/b.jsonl:1"]


def test_a_remote_glob_keeps_the_protocol_in_the_place() -> None:
    with fsspec.open("memory://globbed/x.jsonl", "wb") as file:
        file.write(b'{"a": 1}\n')
    assert [row.place for row in read_rows("memory://globbed/*.jsonl")] == ["memory:///globbed/x.jsonl:1"]


def test_a_file_whose_name_looks_like_a_glob_is_read(tmp_path: Path) -> None:
    write_lines(tmp_path / "part[1].jsonl", ROWS)
    assert values(tmp_path / "part[1].jsonl") == ROWS


@pytest.mark.parametrize("content", ['{"a": 1}', '{"a": 1}\n', '{"a": 1}\n\n \n', '\ufeff{"a": 1}\r\n'])
def test_trailing_newlines_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content.encode())
    assert values(path) == [{"a": 1}]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b'{"a": 1}\n{"a": \n', 2, "malformed JSON"),
        (b'{"a": 1}\n{"a": "\xff"}\n', 2, "malformed JSON"),
        (b'{"a": 1}\n\n\n{"a": 2}\n', 2, "blank line between rows"),
        (b'\n{"a": 1}\n', 1, "blank line between rows"),
        (b'{"a": 1}\n[1, 2]\n', 2, "must be a JSON object, found list"),
        (b'"text"\n', 1, "must be a JSON object, found str"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(tmp_path: Path, content: bytes, line: int, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        values(path)
    assert str(error.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize("path", ["missing.jsonl", "missing*.jsonl", "memory://nowhere/missing.jsonl"])
def test_a_missing_file_is_named_with_the_setting(path: str) -> None:
    with pytest.raises(FileNotFoundError, match="matches no file") as error:
        values(path)
    assert path in str(error.value)
    assert "`path`" in str(error.value)


def test_a_folder_is_refused_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is a folder, not a file; .*/\*\.jsonl"):
        values(tmp_path)


def test_an_empty_file_is_refused_even_among_others(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", ROWS)
    write_lines(tmp_path / "b.jsonl", [])
    with pytest.raises(ValueError, match=r"b\.jsonl holds no rows"):
        values(tmp_path / "*.jsonl")


def test_an_empty_parquet_file_is_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"a": pyarrow.array([], pyarrow.int64())}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet holds no rows"):
        values(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["rows.csv", "rows", "rows.gz"])
def test_an_unknown_format_is_refused(tmp_path: Path, name: str) -> None:
    write_lines(tmp_path / name, ROWS)
    with pytest.raises(ValueError, match=r"cannot tell the format; .*\.jsonl.*\.parquet"):
        values(tmp_path / name)


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(ValueError, match=r"a\.parquet: not a readable Parquet file"):
        values(tmp_path / "a.parquet")


def test_a_compressed_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(write_lines(tmp_path / "rows.jsonl", ROWS * 50).read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.jsonl\.gz: the compressed file is damaged or cut short"):
        values(tmp_path / "cut.jsonl.gz")


def test_a_missing_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"lit_rlvr\[data\]"):
        values(tmp_path / "a.parquet")


def test_real_rows_read_in_full(real_data) -> None:
    rows = list(read_rows(str(real_data("gsm8k_test.jsonl"))))
    assert len(rows) == 1319
    assert set(rows[-1].values) == {"question", "answer"}
