"""Stores: folders of parquet parts that only grow, part by whole part.

    FOLDER/manifest.json         what the rows were made from (the fingerprint)
    FOLDER/part-00000.parquet    one row a query

One process writes a store at a time: it holds a lock on `FOLDER/.lock` until it ends, whichever way, and another one,
on this or another machine that shares the folder, is refused. Any number may read. A part is on the disk before it has
its name, so a killed process loses the part that it was writing and nothing else.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TextIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from typing_extensions import Self

from tapo.files.atomic import atomic_path, write_text_atomically
from tapo.files.fingerprint import as_json, differences
from tapo.terminal import say

FORMAT = 1
ROW_GROUP_BYTES = 32 << 20
"""Texts and ids of one row group, about, which is what a reader holds in memory."""
WRITING = {"compression": "zstd", "write_page_checksum": True, "use_dictionary": False}


class StoreMismatch(ValueError):
    """The store holds rows that were made from something else."""


class StoreBusy(ValueError):
    """Another process writes the store."""


class DamagedPart(ValueError):
    """A part that parquet cannot read."""

    def __init__(self, path: Path, reason: object):
        super().__init__(
            f"{path} is damaged ({reason}). Delete it, or let `tapo data repair` move it aside, and the queries in it "
            "are made again."
        )


RowT = TypeVar("RowT", bound=Any)


class PartStore(Generic[RowT]):
    """A folder of rows, one a query, which `index` names. Made by `open_for_append` or `open`; subclasses say what a
    row is."""

    what: ClassVar[str]
    """What the rows are, in messages."""
    schema: ClassVar[pa.Schema]
    earlier: ClassVar[tuple[pa.Schema, ...]] = ()
    """Of parts that are still read: `schema` without its last columns, which are then empty, or with fewer fields in a
    column, which the row must not need."""
    row: ClassVar[type]
    """Made from a column's values by name."""

    @staticmethod
    def to_table(rows: Sequence[Any]) -> pa.Table:
        """The rows in `schema`."""
        raise NotImplementedError

    @staticmethod
    def from_table(table: pa.Table) -> Iterable[dict[str, Any]]:
        """Each row of a table with some of the columns, as plain Python values."""
        return table.to_pylist()

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).expanduser()
        self._manifest = self.folder / "manifest.json"
        self.fingerprint: dict[str, Any] = {}
        self._indices: dict[Path, set[str]] = {}  # of the parts that were read or written
        self._lock_file: TextIO | None = None

    @classmethod
    def open_for_append(cls, folder: str | Path, fingerprint: Mapping[str, Any]) -> Self:
        """Open or create. What a killed writer left behind is removed; a store without rows takes the new fingerprint.

        Args:
            fingerprint: what decides about the rows (model, data, prompt, sampling, seed, reward, ...), as JSON
                could hold it.

        Raises:
            StoreMismatch: the store was made with another fingerprint.
            StoreBusy: another process writes it.
            ValueError: the folder holds something else, or its manifest is damaged.
        """
        store, now = cls(folder), as_json(fingerprint)
        store.folder.mkdir(parents=True, exist_ok=True)
        store._lock()
        for leftover in (*store.folder.glob(".part-*.tmp"), *store.folder.glob(".manifest.json.*.tmp")):
            leftover.unlink()
        if not store._parts():
            if store._manifest.exists():
                store._read_fingerprint()  # another kind's is not taken
            manifest = {"format": FORMAT, "rows": cls.what, "fingerprint": now}
            write_text_atomically(store._manifest, json.dumps(manifest, indent=1))
        store.fingerprint = store._read_fingerprint()
        if changed := differences(store.fingerprint, now):
            raise StoreMismatch(
                f"{store.folder} holds {cls.what} of another run and does not mix: {'; '.join(changed)}. Name another "
                "folder, set these back, or delete this folder to make everything again."
            )
        return store

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open to read; ValueError if the folder is no store, or its manifest is damaged."""
        store = cls(folder)
        store.fingerprint = store._read_fingerprint()
        return store

    def done(self) -> set[str]:
        """The indices that are there; reads that column alone, of parts that are new since the last call. `DamagedPart`
        if one cannot be read."""
        parts = self._parts()
        for path in parts:
            if path not in self._indices:
                tables = list(self._tables(path, ["index"]))
                self._indices[path] = {index for table in tables for index in table.column("index").to_pylist()}
        return set().union(*(self._indices[path] for path in parts))

    def append(self, rows: Sequence[RowT]) -> None:
        """Write the rows as one new part, which is on the disk when this returns.

        Raises:
            ValueError: an index that is there already, or twice among the rows; nothing is written then.
            OSError: a full disk, for one; earlier parts are as they were.
        """
        assert self._lock_file, "opened to read"
        if not rows:
            return
        taken = self.done()
        for index in (row.index for row in rows):
            if index in taken:
                raise ValueError(f"index = {index!r} is in {self.folder} already: needs queries not in done()")
            taken.add(index)
        number = 1 + max(map(_number, self.folder.glob("part-*")), default=-1)
        path = self.folder / f"part-{number:05d}.parquet"
        table = self.to_table(rows)
        group = max(1, len(rows) * ROW_GROUP_BYTES // max(1, table.nbytes))
        with atomic_path(path) as temporary, pq.ParquetWriter(temporary, self.schema, **WRITING) as writer:
            writer.write_table(table, row_group_size=group)
        self._indices[path] = {row.index for row in rows}

    def __iter__(self) -> Iterator[RowT]:
        """Every query in the order of writing, see `iter_columns`; holds one row group at a time."""
        for row in self.iter_columns(self.schema.names):
            yield self.row(**row)

    def iter_columns(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Every query in the order of writing, of which only these columns are read; ValueError for an unknown one,
        `DamagedPart` for a part that cannot be read."""
        for name in columns:
            if name not in self.schema.names:
                raise ValueError(f"column = {name!r} cannot work: known are {', '.join(self.schema.names)}")
        for path in self._parts():
            for table in self._tables(path, list(columns)):
                yield from self.from_table(table)

    def content_fingerprint(self) -> str:
        """Changes whenever a part comes or goes: names and sizes of the parts, and the store's own fingerprint."""
        facts = [self.fingerprint, *((path.name, path.stat().st_size) for path in self._parts())]
        return f"sha256:{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}"

    def repair(self, console: Console | None = None) -> list[Path]:
        """Read every part to its end and move the damaged ones to `*.damaged`, with a printed warning for each; their
        queries are no longer in `done()`. Returns the new paths; `StoreBusy` if another process writes the store."""
        moved = []
        self._lock()
        for path in self._parts():
            try:
                for _ in self._tables(path, self.schema.names):
                    pass
            except DamagedPart as error:
                moved.append(path.rename(path.with_name(f"{path.name}.damaged")))
                say(f"warning: {error} Moved to {moved[-1].name}.", console or Console(stderr=True))
        return moved

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"), key=_number)

    def _read_fingerprint(self) -> dict[str, Any]:
        try:
            manifest = json.loads(self._manifest.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ValueError(f"{self.folder} is no store of {self.what}: it holds no manifest.json") from error
        except ValueError as error:
            raise ValueError(f"{self._manifest} is damaged ({error}): needs the JSON of this store") from error
        if manifest.get("format") != FORMAT:
            raise ValueError(f"{self._manifest}: format = {manifest.get('format')!r} cannot work: needs {FORMAT}")
        if manifest.get("rows") != self.what:
            raise ValueError(f"{self.folder} is a store of {manifest.get('rows')}: needs one of {self.what}")
        return manifest["fingerprint"]

    def _lock(self) -> None:
        """Keep other processes from writing until this one ends; `StoreBusy` if one does already."""
        path = self.folder / ".lock"
        try:
            # Nothing is written to it: whatever a link here points to, or the file held, stays as it is.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise ValueError(f"{path} is a link, which is not followed: needs a file of the store's own") from error
        self._lock_file = os.fdopen(descriptor, "r+")
        try:
            # The kind that child processes do not inherit: one that outlives a killed writer would keep the store.
            fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise StoreBusy(
                f"{self.folder} is being written by another process: needs one at a time. Wait for it or stop it; "
                "`--server`, repeated, shares the queries of one command between machines"
            ) from error

    def _tables(self, path: Path, columns: list[str]) -> Iterator[pa.Table]:
        """The row groups of a part."""
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                there = file.schema_arrow
                if not any(there.equals(known) for known in (self.schema, *self.earlier)):
                    raise DamagedPart(path, f"its columns are {', '.join(there.names)}")
                missing = [self.schema.field(name) for name in columns if name not in there.names]
                for number in range(file.num_row_groups):
                    table = file.read_row_group(number, columns=columns)
                    for field in missing:
                        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
                    yield table
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            if getattr(error, "errno", None) is not None:  # the system's, not parquet's
                raise
            raise DamagedPart(path, error) from error


def _number(path: Path) -> int:
    digits = path.name.removeprefix("part-").split(".")[0]
    if not digits.isdecimal():
        raise ValueError(f"{path} does not belong in a store: needs the name part-NUMBER.parquet")
    return int(digits)
