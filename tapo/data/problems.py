"""Rows of a dataset of problems: a local file, a local dataset folder, or a dataset on the Hugging Face hub."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tapo.data.queries import BATCH_ROWS, open_parquet
from tapo.files.fingerprint import fingerprint_of_file

Problem = dict[str, Any]
"""A row with a question and an answer, whatever its columns are called."""


def iter_problems(source: str, *, split: str, subset: str | None = None) -> Iterator[Problem]:
    """The rows of a source; all but a JSON array are read as they are consumed.

    Args:
        source: a JSON, JSON Lines, CSV or parquet file; a dataset folder; or the id of a dataset on the hub.
        split: of a folder or a hub dataset.
        subset: configuration of a folder or a hub dataset that has several.

    Raises:
        ValueError: there is no such source, its format is another, or it is damaged; names the line where it can.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix not in READERS:
            raise ValueError(f"source = {source!r} cannot work: needs a file that ends in {', '.join(READERS)}")
        return READERS[path.suffix](path)
    if path.suffix in READERS or (path.is_absolute() and not path.exists()):
        raise ValueError(f"source = {source!r} cannot work: there is no such file")
    return _iter_dataset(source, split, subset)


def fingerprint_of_source(source: str) -> Any:
    """The content of a file or folder; the id of a hub dataset."""
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return {str(file.relative_to(path)): fingerprint_of_file(file) for file in files}
    return fingerprint_of_file(path) if path.is_file() else source


def _iter_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of a UTF-8 file, with or without a byte-order mark."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from enumerate(file, start=1)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no UTF-8 text: {error}") from error


def _iter_json_lines(path: Path) -> Iterator[Problem]:
    for number, line in _iter_lines(path):
        if line.strip():
            where = f"{path}, line {number}"
            yield _as_row(_parse(line, where), where)


def _iter_json(path: Path) -> Iterator[Problem]:
    """An array of objects, or JSON Lines under the name of JSON."""
    first = next((line.lstrip()[0] for _, line in _iter_lines(path) if line.strip()), "")
    if first != "[":
        yield from _iter_json_lines(path)
        return
    content = _parse("".join(line for _, line in _iter_lines(path)), str(path))
    for number, row in enumerate(content, start=1):
        yield _as_row(row, f"{path}, entry {number}")


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where} is no JSON: {error}") from error


def _as_row(value: Any, where: str) -> Problem:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {type(value).__name__} {value!r}: needs an object with a question and an answer")
    return value


def _iter_csv(path: Path) -> Iterator[Problem]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.DictReader((line for _, line in _iter_lines(path)), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"{path}, line {reader.line_num}: needs {len(reader.fieldnames or [])} fields a row")
            yield row
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.reader.line_num} is no CSV: {error}") from error


def _iter_parquet(path: Path) -> Iterator[Problem]:
    with open_parquet(path, ()) as file:
        for batch in file.iter_batches(BATCH_ROWS):
            yield from batch.to_pylist()


READERS = {".json": _iter_json, ".jsonl": _iter_json_lines, ".csv": _iter_csv, ".parquet": _iter_parquet}


def _iter_dataset(source: str, split: str, subset: str | None) -> Iterator[Problem]:
    # Not streamed: the hub's files are cached, so that a machine without network can work from the cache, and the rows
    # are mapped from the disk.
    from datasets import load_dataset

    try:
        dataset = load_dataset(source, subset, split=split)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"source = {source!r} (split {split!r}, subset {subset!r}) cannot be loaded: {error}. A local JSON, JSON "
            "Lines, CSV or parquet file works in its place: --source FILE"
        ) from error
    yield from dataset
