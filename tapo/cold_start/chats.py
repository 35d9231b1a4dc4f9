"""The chats of the cold start as `messages` parquet for verl's SFT trainer."""

import contextlib
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tapo.cold_start.mixture import KINDS, UNTAUGHT, Choice, choose, held_out, messages_of, position
from tapo.cold_start.options import Recipe
from tapo.cold_start.store import MESSAGES, ConstructionStore, QueryConstructions
from tapo.core.form import Form
from tapo.data.rollout_store import RolloutStore
from tapo.files.atomic import atomic_path
from tapo.generation.engine import SEED_RANGE

TEXT = pa.string()
SCHEMA = pa.schema({"messages": MESSAGES, "kind": TEXT, "index": TEXT, "data_source": TEXT, "position": pa.int64()})
TEMPLATE_KEY = b"tapo.template"
"""Where a file of chats keeps the arguments of the chat template."""
END_KEY = b"tapo.end_token"
"""Where it keeps the id that ends the model's turns, or null."""
FORM_KEY = b"tapo.form"
"""Where it keeps the form of construction that it teaches, as the options `copy` and `correction`."""
END_QUERIES = 256
"""Queries of each store in which it is looked for: with Gemma, Phi-3 and GLM-4 it is not the tokenizer's EOS."""
BUCKETS = 64
"""Files of a shuffle: 45,000 chats of 100 KB make 70 MB in each."""
BATCH_ROWS = 256


def write_chats(
    store: ConstructionStore,
    recipe: Recipe,
    folder: Path,
    prompts: Mapping[Form, str],
    known: Mapping[bytes, Any] | None = None,
    seen: Callable[[QueryConstructions], None] = lambda query: None,
) -> tuple[Choice, dict[str, Counter]]:
    """Write `train.parquet` and, if the recipe holds queries out, `val.parquet`, in bounded memory.

    Args:
        prompts: the construction prompt of each form that is taught.
        known: how the responses were sampled and what is taught, by `TEMPLATE_KEY`, `END_KEY` and `FORM_KEY`; kept in
            the files' metadata, for the SFT and the run to be held to.
        seen: told of every query as it is read.

    Returns:
        What was chosen, and the number of chats by kind in each split; under `UNTAUGHT`, if there are any, those left
        out because no quote means their error alone.

    Raises:
        ValueError: nothing to train on.
    """
    choice = choose(store.iter_columns(["index", "outcome", "plain"]), recipe)
    splits = ("train", "val") if recipe.val_share else ("train",)
    counts = {split: Counter(dict.fromkeys(KINDS, 0)) for split in splits}
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix=".unshuffled-")))
        buckets = {split: stack.enter_context(Buckets(temporary / split)) for split in splits}
        for query in store:
            seen(query)
            split = "val" if held_out(query.index, recipe) else "train"
            for kind in (kind for kind in KINDS if query.index in choice[kind]):
                messages = messages_of(kind, query, prompts, recipe.seed)
                if messages is None:
                    counts.setdefault(UNTAUGHT, Counter())[kind] += 1
                    continue
                counts[split][kind] += 1
                facts = {"kind": kind, "index": query.index, "data_source": query.data_source}
                place = position(query.index, kind, recipe)
                buckets[split].add({"messages": messages, "position": place, **facts})
        if "val" not in splits:
            (folder / "val.parquet").unlink(missing_ok=True)
        for split in splits:
            with atomic_path(folder / f"{split}.parquet") as out:
                buckets[split].write_sorted(out, known or {})
    return choice, counts


def end_token(sources: Sequence[RolloutStore]) -> int | None:
    """The last id of most responses that ended by themselves; None where no id ends more than half of them, as with
    servers that return text."""
    last: Counter[int] = Counter()
    for source in sources:
        for row in itertools.islice(source.iter_columns(["response_ids", "finish_reasons"]), END_QUERIES):
            for ids, reason in zip(row["response_ids"], row["finish_reasons"], strict=True):
                if reason == "stop" and ids:
                    last[ids[-1]] += 1
    for token, count in last.most_common(1):
        if 2 * count > last.total():
            return token
    return None


class Buckets:
    """A shuffle that never holds all rows: each goes to a file by its position, and each file is sorted by itself."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self._paths = [folder / str(number) for number in range(BUCKETS)]
        self._rows: list[Mapping[str, Any]] = []

    def __enter__(self) -> "Buckets":
        self._writers = [pa.ipc.new_stream(str(path), SCHEMA) for path in self._paths]
        return self

    def __exit__(self, *error: object) -> None:
        for writer in self._writers:
            writer.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """A row of `SCHEMA`, its `position` in [0, SEED_RANGE)."""
        self._rows.append(row)
        if len(self._rows) == BATCH_ROWS:
            self._flush()

    def write_sorted(self, out: Path, metadata: Mapping[bytes, Any]) -> None:
        """All rows by their position, as one parquet file, with the metadata as JSON."""
        self._flush()
        schema = SCHEMA.with_metadata({key: json.dumps(value, sort_keys=True) for key, value in metadata.items()})
        with pq.ParquetWriter(out, schema, compression="zstd") as parquet:
            for path, writer in zip(self._paths, self._writers, strict=True):
                writer.close()
                with pa.ipc.open_stream(str(path)) as reader:
                    table = reader.read_all()
                parquet.write_table(table.sort_by([("position", "ascending"), ("index", "ascending")]))

    def _flush(self) -> None:
        table = pa.Table.from_pylist(self._rows, schema=SCHEMA)
        self._rows = []
        numbers = table.column("position").to_numpy() * BUCKETS // SEED_RANGE
        for number in np.unique(numbers):
            self._writers[number].write_table(table.filter(pa.array(numbers == number)))
