"""The queries of the parquet files of a verl run, row by row."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tapo.data.options import ColumnOptions
from tapo.data.query import AGENT, MEDIA, NO_JSON, Query, UnusableRow, query_of
from tapo.data.text import BOXED_INSTRUCTION, METADATA_KEY
from tapo.files.atomic import atomic_path
from tapo.files.fingerprint import fingerprint_of_file

BATCH_ROWS = 1024
MEDIA_COLUMNS = ("images", "videos", "audios")
OTHER_COLUMNS = ("extra_info", "agent_name", *MEDIA_COLUMNS)
"""That need not be there."""


class QueryFiles:
    """The queries of verl's parquet files, each once, `BATCH_ROWS` rows in memory at a time.

    Rows that agree in prompt, data source, reward model and extra info are one query. Rows that share an index and
    differ in any of these are told apart: the first keeps the index, others get `INDEX/HASH` of their content, so
    that the same files in the same order always give the same names.

    Args:
        paths: as `data.train_files`.
        columns: those that the run names otherwise.
        strict: every row is given, under its own index; one without a text raises instead of being counted, and
            whether it can be sampled is not asked.

    Attributes:
        rows: read by the last iteration or copy.
        repeated: of those, copies of a query that was there already.
        unusable: of those, rows that are no query, by reason.
    """

    def __init__(
        self, paths: Sequence[str | Path] | str | Path, columns: ColumnOptions | None = None, *, strict: bool = False
    ):
        self.paths = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
        self._named, self._strict = columns or ColumnOptions(), strict
        self._columns = (self._named.reward_fn_key, self._named.prompt_key, "reward_model", *OTHER_COLUMNS)
        self.rows = self.repeated = 0
        self.unusable: Counter[str] = Counter()
        self._contents: dict[str, bytes] = {}

    def __str__(self) -> str:
        return ", ".join(map(str, self.paths))

    def __iter__(self) -> Iterator[Query]:
        """Each query once, with `strict` each row; ValueError as `open_parquet`, or if no row is usable."""
        seen: set[str] = set()
        for _, queries in self.batches(self._columns):
            for query in filter(None, queries):
                if query.index in seen and not self._strict:
                    self.repeated += 1
                else:
                    seen.add(query.index)
                    yield query
        if not seen:
            raise ValueError(f"{self} has no usable query: {self.reasons()}")

    def fingerprint(self) -> Any:
        """Contents of the files, and the columns where the run names them otherwise."""
        hashes = [fingerprint_of_file(require_file(path)) for path in self.paths]
        named = {"prompt": self._named.prompt_key, "source": self._named.reward_fn_key}
        if len(hashes) == 1 and named == {"prompt": "prompt", "source": "data_source"}:
            return hashes[0]
        return {"files": hashes} | named

    def reasons(self) -> str:
        """Counts of unusable rows in words; empty if there is none."""
        return ", ".join(f"{reason} ({count} rows)" for reason, count in self.unusable.most_common())

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[tuple[pa.RecordBatch, Iterator[Query | None]]]:
        """The rows in batches, of all columns or those of these that are there, each with its rows' queries, named as
        in every pass; None where a row is unusable, which is counted."""
        self.rows = self.repeated = 0
        self.unusable.clear()
        self._contents.clear()
        for path in self.paths:
            with open_parquet(path, self._columns[:3]) as file:
                instruction = (file.schema_arrow.metadata or {}).get(METADATA_KEY, BOXED_INSTRUCTION.encode()).decode()
                for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                    yield batch, self._queries(batch, instruction)

    def _queries(self, batch: pa.RecordBatch, instruction: str) -> Iterator[Query | None]:
        wanted = [name for name in self._columns if name in batch.schema.names and name not in MEDIA_COLUMNS]
        for row, has_media in zip(batch.select(wanted).to_pylist(), _media(batch), strict=True):
            self.rows += 1
            try:
                yield self._query(row, has_media, instruction)
            except UnusableRow as error:
                if self._strict:
                    raise ValueError(f"{self}, row {self.rows}: {error}") from error
                self.unusable[str(error)] += 1
                yield None

    def _query(self, row: dict[str, Any], has_media: bool, instruction: str) -> Query:
        query = query_of(row, self._named, instruction)
        if self._strict:
            return query
        if has_media:
            raise UnusableRow(MEDIA)
        if row.get("agent_name") not in (None, "", "single_turn_agent"):
            raise UnusableRow(AGENT)
        try:
            content = query.content
        except (TypeError, ValueError) as error:
            raise UnusableRow(NO_JSON) from error
        if self._contents.setdefault(query.index, content) == content:
            return query
        return replace(query, index=f"{query.index}/{content.hex()[:16]}")


def copy_queries(
    files: QueryFiles, out: Path, keep: Callable[[Query], bool], check: Callable[[], None] = lambda: None
) -> int:
    """Copy the rows that `keep` wants into one file, every column as it is; return how many. Unusable rows are left
    out, and counted by `files`.

    Args:
        check: called when every row has been seen; raises where `out` should not take its name.

    Raises:
        ValueError: as `QueryFiles`; the files' columns do not fit together; or `keep` wants none. Nothing is written
            then.
        OSError: a full disk, for one; an earlier file is as it was.
    """
    schema, kept = _common_schema(files), 0
    with atomic_path(out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch, queries in files.batches():
            mask = [query is not None and keep(query) for query in queries]
            kept += sum(mask)
            rows = [schema.empty_table(), pa.Table.from_batches([batch.filter(pa.array(mask))])]
            writer.write_table(pa.concat_tables(rows, promote_options="default"))
        check()
        if kept == 0:
            raise ValueError(f"none of the {files.rows} rows of {files} is left; nothing was written")
    return kept


def _common_schema(files: QueryFiles) -> pa.Schema:
    """The schema of all files, as verl concatenates them: a column may be missing, its type may not differ."""
    schemas = []
    for path in files.paths:
        with open_parquet(path, files._columns[:3]) as file:
            schemas.append(file.schema_arrow)
    if all(schema.equals(schemas[0]) for schema in schemas):
        return schemas[0]
    try:
        return pa.unify_schemas([schema.remove_metadata() for schema in schemas])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"{files} do not fit into one file: {error}. Give each a file of its own") from error


def some(indices: Sequence[str], most: int = 3) -> str:
    """`4 queries (a, b, c, ...)`."""
    named = ", ".join(indices[:most])
    return f"{len(indices)} queries ({named}{', ...' if len(indices) > most else ''})"


def _media(batch: pa.RecordBatch) -> list[bool]:
    """Whether each row holds images, videos or audio; their bytes are not looked at."""
    found = np.zeros(batch.num_rows, bool)
    for column in (batch.column(name) for name in MEDIA_COLUMNS if name in batch.schema.names):
        present = column.is_valid()
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            present = pc.fill_null(pc.greater(pc.list_value_length(column), 0), False)
        found |= present.to_numpy(zero_copy_only=False)
    return found.tolist()


@contextlib.contextmanager
def open_parquet(path: str | Path, columns: Sequence[str]) -> Iterator[pq.ParquetFile]:
    """A parquet file with at least one row and these columns; ValueError if it is none."""
    path = require_file(path)
    if path.suffix in (".json", ".jsonl"):
        raise ValueError(
            f"{path} is JSON, which verl reads and TAPO's data stages do not: needs parquet, as "
            "`datasets.load_dataset('json', data_files=FILE)['train'].to_parquet(OUT)` writes it"
        )
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no whole parquet file: {error}") from error
    with file:
        names = file.schema_arrow.names
        for name in columns:
            if name not in names:
                raise ValueError(f"{path} has no column {name!r}: its columns are {', '.join(names)}")
        if file.metadata.num_rows == 0:
            raise ValueError(f"{path} holds no rows")
        yield file


def require_file(path: str | Path) -> Path:
    """The path of a file; ValueError if it is not there."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"{path} cannot be read: there is no such file")
    return path
