"""Rows of JSON-lines and Parquet files, each with the place it comes from."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec import AbstractFileSystem

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIX = ".parquet"
_COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")


@dataclass(frozen=True)
class Row:
    """One row of a data set."""

    values: Mapping[str, Any]
    """The columns."""
    place: str
    """Where it stands, for error messages: `train.jsonl:17`, rows counted from 1."""


def read_rows(path: str) -> Iterator[Row]:
    """Yield the rows of a file, or of every file of a glob in the order of their names.

    Args:
        path: any fsspec path or URL, globs allowed. `.jsonl`, `.ndjson` and `.json` hold one JSON object a line and may be
            compressed (`.gz`, `.bz2`, `.xz`, `.zip`); `.parquet` needs the extra `lit_rlvr[data]`.

    Raises:
        FileNotFoundError: when nothing matches `path`.
        ValueError: for an unknown suffix, an empty or damaged file, a blank line between rows, malformed JSON, or a row that
            is not an object.
        ImportError: for a Parquet file without `pyarrow`.
    """
    filesystem, inner_path = fsspec.core.url_to_fs(path)
    for name in _matching_files(filesystem, inner_path, path):
        place = path if name == inner_path else str(filesystem.unstrip_protocol(name)).removeprefix("file://")
        read = _reader(place)
        number = 0
        with filesystem.open(name, "rb", compression="infer") as file:
            for number, values in read(file, place):
                yield Row(values, f"{place}:{number}")
        if number == 0:
            raise ValueError(f"{place} holds no rows")


def _matching_files(filesystem: AbstractFileSystem, inner_path: str, path: str) -> list[str]:
    if filesystem.isfile(inner_path):  # also when its name holds a glob's characters
        return [inner_path]
    found = sorted(filesystem.glob(inner_path)) if any(magic in inner_path for magic in "*?[") else []
    if not found:
        is_folder = filesystem.isdir(inner_path)
        what = "is a folder, not a file; give a pattern such as its '/*.jsonl'" if is_folder else "matches no file"
        raise FileNotFoundError(f"{path!r} {what} (set by `path` of the source in the configuration)")
    return found


def _reader(place: str) -> Callable[[Any, str], Iterator[tuple[int, dict[str, Any]]]]:
    name = place
    for suffix in _COMPRESSION_SUFFIXES:
        name = name.removesuffix(suffix)
    if place.endswith(PARQUET_SUFFIX):
        return _read_parquet
    if name.endswith(JSON_SUFFIXES):
        return _read_json_lines
    raise ValueError(f"{place}: cannot tell the format; the name must end in {', '.join(JSON_SUFFIXES)} or {PARQUET_SUFFIX}")


def _read_json_lines(file: Iterable[bytes], place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    blank_line = 0
    for number, line in enumerate(_lines(file, place), start=1):
        if not line.strip():
            blank_line = blank_line or number
            continue
        if blank_line:
            raise ValueError(f"{place}:{blank_line}: blank line between rows; remove it")
        yield number, _parse_object(line, f"{place}:{number}")


def _lines(file: Iterable[bytes], place: str) -> Iterator[bytes]:
    try:
        yield from file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{place}: the compressed file is damaged or cut short: {error}") from error


def _parse_object(line: bytes, place: str) -> dict[str, Any]:
    try:
        values = json.loads(line.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{place}: malformed JSON ({error}); the file must hold one JSON object a line") from error
    if not isinstance(values, dict):
        raise ValueError(f"{place}: a row must be a JSON object, found {type(values).__name__}: {line[:60]!r}")
    return values


def _read_parquet(file: Any, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"{place}: reading Parquet needs pyarrow: pip install 'lit_rlvr[data]'") from error
    try:
        table = pyarrow.parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{place}: not a readable Parquet file: {error}") from error
    number = 0
    for batch in table.iter_batches():
        for values in batch.to_pylist():
            number += 1
            yield number, values
