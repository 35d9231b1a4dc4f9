"""JSON lines for whoever wants to see what was constructed and trained."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, NamedTuple


class JsonLines:
    """Appends one JSON object a line to a file of this process alone, so that processes never share one."""

    def __init__(self, folder: str | None, kind: str):
        self.path: Path | None = None
        if folder is not None:
            self.path = Path(folder).expanduser() / f"{kind}-{socket.gethostname()}-{os.getpid()}.jsonl"
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append `record`; nothing happens without a folder."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


class Place(NamedTuple):
    """Where a record of a dump stands: file, line (from 1) and byte offset of the line."""

    path: Path
    line: int
    offset: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}"


class DumpReader:
    """Streams the records of one kind in a dump folder, whatever process wrote them.

    Args:
        folder: what `algorithm.tapo.dump_dir` named.
        kind: "constructions" or "trained".
        fields: fields that each record must have, with their types.

    Attributes:
        unfinished: files whose last line was skipped, since a process that still runs or was killed left it
            half-written. Filled while reading.
    """

    def __init__(self, folder: str | Path, kind: str, fields: Mapping[str, type | UnionType] = MappingProxyType({})):
        self.paths = sorted(Path(folder).expanduser().glob(f"{kind}-*.jsonl"))
        self.fields = fields
        self.unfinished: list[Path] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (record for _, record in self.placed())

    def placed(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Every record with its place.

        Raises:
            ValueError: names file, line and field of a record that is broken or lacks a field.
        """
        self.unfinished.clear()
        for path in self.paths:
            offset = 0
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    place = Place(path, number, offset)
                    offset += len(line)
                    try:
                        record = json.loads(line)
                    except ValueError as error:
                        if not line.endswith(b"\n"):
                            self.unfinished.append(path)
                            continue
                        raise ValueError(f"{place}: no JSON object ({error})") from error
                    yield place, self._checked(record, place)

    def load(self, place: Place) -> dict[str, Any]:
        """The record at a place that `placed` gave."""
        with place.path.open("rb") as file:
            file.seek(place.offset)
            return self._checked(json.loads(file.readline()), place)

    def _checked(self, record: Any, place: Place) -> dict[str, Any]:
        if not isinstance(record, dict):
            raise ValueError(f"{place}: no JSON object but a value of type {type(record).__name__}")
        for name, kind in self.fields.items():
            if name not in record:
                raise ValueError(f"{place}: field {name!r} is missing, got {', '.join(record) or 'none'}")
            if not isinstance(record[name], kind):
                allowed = getattr(kind, "__name__", kind)
                raise ValueError(f"{place}: field {name!r} is {record[name]!r:.80}, allowed is {allowed}")
        return record
