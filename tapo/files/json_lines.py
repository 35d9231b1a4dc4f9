"""JSON lines: an object a line, read one at a time while others may still write them."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

CHUNK = 1 << 16


class Line(NamedTuple):
    """Where a record stands: file, line (from 1), and the bytes before and behind the line."""

    path: Path
    number: int
    offset: int
    end: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}"


def read_json_lines(
    path: Path,
    *,
    start: int = 0,
    on_half_written: Callable[[Path], Any] | None = None,
    on_line: Callable[[bytes], Any] = lambda line: None,
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """(place, record) of every line that is not blank.

    A line that is no JSON and that nothing follows is half-written: a process that still runs or was killed left it.

    Args:
        start: byte offset of the first line that is read; lines are numbered from there.
        on_half_written: told of a file whose last line was left out for that; without it such a line is an error.
        on_line: sees every line as it stands in the file.

    Raises:
        ValueError: the file cannot be read, or a line holds no JSON object; names file and line.
    """
    broken: ValueError | None = None
    try:
        with path.open("rb") as file:
            file.seek(start)
            offset = start
            for number, text in enumerate(file, 1):
                on_line(text)
                line = Line(path, number, offset, offset + len(text))
                offset = line.end
                if not text.strip():
                    continue
                if broken:
                    raise broken
                try:
                    record = parse(text)
                except ValueError as error:
                    broken = ValueError(f"{line} is no JSON: {error}")
                    continue
                if not isinstance(record, dict):
                    raise ValueError(f"{line}: got {type(record).__name__}, needs a JSON object")
                yield line, record
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if broken:
        if on_half_written is None:
            raise broken
        on_half_written(path)


def end_cut_line(path: Path) -> None:
    """Leave a file, where there is one, of whole lines: what stands behind the last of them is taken back, or ended
    where it is a whole value."""
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return
    with file:
        size = end = file.seek(0, os.SEEK_END)
        newline = -1
        while end and newline < 0:
            end = max(end - CHUNK, 0)
            file.seek(end)
            newline = file.read(CHUNK).rfind(b"\n")
        begin = end + newline + 1
        file.seek(begin)
        if (rest := file.read()) and is_json(rest):
            file.write(b"\n")
        elif begin < size:
            file.truncate(begin)


def is_json(text: bytes) -> bool:
    """Whether it is a JSON value."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


def read_at(line: Line) -> dict[str, Any]:
    """The record at a place that `read_json_lines` gave, from a file that has only grown since."""
    with line.path.open("rb") as file:
        file.seek(line.offset)
        return parse(file.read(line.end - line.offset))


def parse(text: bytes) -> Any:
    """A JSON value, `NaN` and infinities among them, which verl writes and only the standard library reads; ValueError
    if it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)
