"""Correct responses in whatever a run, a cold start or a sampling has left."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tapo.baselines.sft.options import SftDataOptions
from tapo.baselines.sft.prompts import RunPrompts, UnknownQuery
from tapo.cold_start.store import ConstructionStore
from tapo.core.funnel import TRAINED
from tapo.data.query import Query
from tapo.data.rollout_store import RolloutStore
from tapo.evaluation.folders import MANIFEST
from tapo.files.json_lines import read_json_lines
from tapo.files.part_store import PartStore
from tapo.records import ConstructionRecord, RecordReader

WRONG = "wrong"
CUT_OFF = "cut off"


@dataclass(frozen=True)
class Response:
    """A correct response to a query.

    Attributes:
        index: the query's.
        prompt: the query as chat messages.
    """

    index: str
    data_source: str
    prompt: Sequence[Mapping[str, str]]
    text: str


@dataclass
class Tally:
    """What the sources hold.

    Attributes:
        read: constructions or rollouts.
        dropped: those that give no chat, by reason.
        tokens_generated: of the responses of stores; the log of a run tells its own.
    """

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    tokens_generated: int = 0

    def drop(self, reason: str) -> None:
        """Count one that was read."""
        self.read += 1
        self.dropped[reason] += 1


Reader = Callable[[Any, SftDataOptions, RunPrompts, Tally], Iterator[Response]]


def correct_responses(options: SftDataOptions, tally: Tally) -> Iterator[Response]:
    """The correct responses of all sources, in their order.

    Raises:
        ValueError: a folder holds nothing of the kind, or what `RunPrompts` needs is missing.
    """
    prompts = RunPrompts(options)
    for folder in options.sources:
        place, reader = find_source(folder, options.kind)
        yield from reader(place, options, prompts, tally)


def find_source(folder: Path, kind: str) -> tuple[Any, Reader]:
    """What there is to read in a folder, and how."""
    folder = folder.expanduser()
    store, dump, store_reader, dump_reader = _KINDS[kind]
    for place in (folder, folder / store.what):
        if _is_store(place, store.what):
            return store.open(place), store_reader
    for place in (folder, folder / dump):
        if files := _DUMPS[kind](place):
            return files, dump_reader
    raise ValueError(f"SOURCES = {str(folder)!r} cannot work: no {store.what} in it, and no dump called `{dump}`")


def source_fingerprint(folder: Path, kind: str) -> Any:
    """Changes with what is read there."""
    place, _ = find_source(folder, kind)
    if isinstance(place, PartStore):
        return place.content_fingerprint()
    return [[path.name, path.stat().st_size] for path in place]


def _is_store(folder: Path, what: str) -> bool:
    manifest = folder / MANIFEST
    return manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8")).get("rows") == what


def _of_construction_store(
    store: ConstructionStore, options: SftDataOptions, prompts: RunPrompts, tally: Tally
) -> Iterator[Response]:
    for query in store:
        tally.tokens_generated += sum(attempt.answer_tokens for attempt in query.attempts)
        if not query.kept:
            tally.drop(query.outcome)
            continue
        tally.read += 1
        yield Response(query.index, query.data_source, query.prompt, query.kept.trajectory)


def _of_rollout_store(
    store: RolloutStore, options: SftDataOptions, prompts: RunPrompts, tally: Tally
) -> Iterator[Response]:
    for query in store:
        tally.tokens_generated += sum(map(len, query.response_ids))
        for text, score, reason in zip(query.responses, query.scores, query.finish_reasons, strict=True):
            if score <= options.reward_threshold:
                tally.drop(WRONG)
            elif reason != "stop":
                tally.drop(CUT_OFF)
            else:
                tally.read += 1
                yield Response(query.index, query.data_source, query.prompt, text)


def _of_constructions(
    files: Sequence[Path], options: SftDataOptions, prompts: RunPrompts, tally: Tally
) -> Iterator[Response]:
    records = RecordReader(files[0].parent, ConstructionRecord)
    for record in sorted(records, key=lambda record: (record.step, record.query, record.key)):
        if options.last_step is not None and record.step > options.last_step:
            continue
        if record.outcome != TRAINED or not record.correct_above(options.reward_threshold):
            tally.drop(record.outcome if record.outcome != TRAINED else WRONG)
            continue
        yield from _known(prompts.of_construction, record.query, record.trajectory, tally)


def _of_rollouts(
    files: Sequence[Path], options: SftDataOptions, prompts: RunPrompts, tally: Tally
) -> Iterator[Response]:
    for path in files:
        if options.last_step is not None and int(path.stem) > options.last_step:
            continue
        for _, row in read_json_lines(path):
            if row["score"] <= options.reward_threshold:
                tally.drop(WRONG)
                continue
            yield from _known(prompts.of_rollout, row["input"], row["output"], tally)


def _known(find: Callable[[Any], Query], asked: Any, text: str, tally: Tally) -> Iterator[Response]:
    try:
        query = find(asked)
    except UnknownQuery as error:
        tally.drop(str(error))
        return
    tally.read += 1
    yield Response(query.index, query.data_source, query.prompt, text)


def _step_files(folder: Path) -> list[Path]:
    files = [path for path in folder.glob("*.jsonl") if path.stem.isdecimal()]
    return sorted(files, key=lambda path: int(path.stem))


_DUMPS: Mapping[str, Callable[[Path], list[Path]]] = {
    "constructed": lambda folder: RecordReader(folder, ConstructionRecord).paths,
    "correct": _step_files,
}
_KINDS: Mapping[str, tuple[type[PartStore], str, Reader, Reader]] = {
    "constructed": (ConstructionStore, "dump", _of_construction_store, _of_constructions),
    "correct": (RolloutStore, "rollouts", _of_rollout_store, _of_rollouts),
}
