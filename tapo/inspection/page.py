"""Constructed trajectories as one self-contained HTML page.

The page's index (a line a trajectory) is plain JSON. The texts lie in chunks of gzipped JSON that the browser unpacks
when a trajectory is opened or texts are searched, so that thousands of long trajectories load at once.
"""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.core.funnel import FUNNEL
from tapo.core.objections import named
from tapo.core.reconstruction import ConstructionError, parse_construction
from tapo.inspection.chart import line_chart
from tapo.inspection.constructions import Constructions, Entry, TrainedRows, read_constructions, spread_over_steps
from tapo.inspection.options import InspectOptions
from tapo.inspection.trajectories import print_skipped, print_trajectories, query_text
from tapo.records import ConstructionRecord, RecordReader, TrainedRecord

LIMIT = 5000
"""Trajectories of a page, unless asked for more."""
CHUNK = 100
"""Trajectories of one gzipped chunk."""
SHOWN = ("key", "wrong", "wrong_session", "correct", "correct_session", "reflection", "correction")
"""Fields of a record that the page takes as they are."""
EXCERPT = 160
"""Characters of the query in the index."""


@dataclass(frozen=True)
class PageReport:
    """What was written.

    Attributes:
        shown, fitting, total: trajectories on the page, those that the filters let through, all of the dump.
        unshaded: trained trajectories whose token weights cannot be shown, since their trained row, the lengths of
            their tokens or an unambiguous key is missing.
        unfinished: files whose half-written last line was skipped.
        size: bytes of the page.
    """

    shown: int
    fitting: int
    total: int
    unshaded: int
    unfinished: list[Path]
    size: int


def run_inspect(options: InspectOptions, console: Console) -> None:
    """Show what the options ask for."""
    if options.html is None:
        print_trajectories(options, console)
    else:
        print_report(write_page(options, options.html), options.html, console)


def write_page(options: InspectOptions, html: Path) -> PageReport:
    """Write the page of a dump; more than the limit of trajectories are thinned out evenly over steps, and it says so.

    Args:
        options: which trajectories may be shown; the funnel counts all of the dump.
        html: the file to write; its folder is made.

    Raises:
        ValueError: see `read_constructions` and `TrainedRows`; or a trajectory contradicts itself.
    """
    dump = options.dump
    constructions = read_constructions(dump, reward_threshold=options.reward_threshold)
    rows = TrainedRows(dump, constructions.entries)
    fitting = constructions.chosen(options)
    entries = spread_over_steps(fitting, options.limit or LIMIT, options.seed)
    index, chunks, unshaded = [], [], 0
    # A cold start trains its trajectories later, and weights none of their tokens.
    weighted = isinstance(constructions.records, RecordReader)
    for start in range(0, len(entries), CHUNK):
        texts = []
        for entry in entries[start : start + CHUNK]:
            summary, text = page_record(entry, constructions, rows)
            index.append(summary)
            texts.append(text)
            unshaded += weighted and entry.outcome == "trained" and text["weights"] is None
        chunks.append(packed(texts))
    unfinished = [*constructions.records.unfinished, *rows.reader.unfinished]
    report = PageReport(len(entries), len(fitting), len(constructions.entries), unshaded, unfinished, 0)
    content = render(options.title or f"TAPO trajectories: {dump}", constructions, report, index, chunks)
    html.parent.mkdir(parents=True, exist_ok=True)
    html.write_bytes(content)
    return replace(report, size=len(content))


def page_record(entry: Entry, constructions: Constructions, rows: TrainedRows) -> tuple[dict[str, Any], dict[str, Any]]:
    """(line of the index, texts) of one trajectory. Offsets count UTF-16 units, as JavaScript does.

    Raises:
        ValueError: the kept prefix is not the beginning of the wrong rollout.
    """
    record = constructions.load(entry)
    if record.prefix is not None and not record.wrong.startswith(record.prefix):
        raise ValueError(f"{entry.place}: field 'prefix' is {record.prefix!r:.80}, no beginning of field 'wrong'")
    row = rows.of(entry)
    query = query_text(record)
    line = {
        "step": entry.step,
        "outcome": entry.outcome,
        "reward": finite(record.reward),
        "correct": entry.correct,
        "kept": record.prefix_length,
        "check": None if record.check is None else named(record.check),
        "excerpt": " ".join(query[: 2 * EXCERPT].split())[:EXCERPT],
    }
    texts: dict[str, Any] = {name: getattr(record, name) for name in SHOWN} | {
        "query": query,
        "wrong_reward": finite(record.wrong_reward),
        "advantage": finite(row.advantage) if row else None,
        "trained_step": row.step if row else None,
        "prefix_units": None if record.prefix is None else units(record.prefix),
        "analysis": analysis(record.answer),
        "answer": record.answer if record.prefix is None else None,
    }
    return line, texts | weighted_tokens(record, row)


def weighted_tokens(record: ConstructionRecord, row: TrainedRecord | None) -> dict[str, str | None]:
    """Weight (two significant digits) and length of each token as numbers in a string; None where they do not fit.

    Strings, since the browser parses all texts of a chunk but the numbers of an opened trajectory alone.
    """
    lengths, text = record.token_lengths, record.trajectory
    weights = row.weights if row else None
    if lengths is None or weights is None or len(lengths) != len(weights) or sum(lengths) != len(text):
        return {"weights": None, "lengths": None}
    if not text.isascii():
        ends = accumulate(lengths, initial=0)
        lengths = [units(text[start:end]) for start, end in pairwise(ends)]
    return {"weights": " ".join(f"{weight:.2g}" for weight in weights), "lengths": " ".join(map(str, lengths))}


def analysis(answer: str) -> str | None:
    """The diagnosis in the actor's answer; None where the answer has not the form asked for."""
    try:
        return parse_construction(answer, ended=True).analysis
    except ConstructionError:
        return None


def units(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def finite(value: float | None) -> float | str | None:
    """A number that JSON knows; NaN and infinities as text."""
    return value if value is None or abs(value) < float("inf") else str(value)


def packed(records: Sequence[dict[str, Any]]) -> str:
    """Records of the same fields as base64 of gzipped JSON, the same bytes each time.

    They are laid out by field, {field: [values]}: like compresses better beside like.
    """
    columns = {name: [record[name] for record in records] for name in records[0]}
    content = json.dumps(columns, ensure_ascii=True, allow_nan=False).encode()
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode()


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")


def render(
    title: str, constructions: Constructions, report: PageReport, index: Sequence[dict[str, Any]], chunks: Sequence[str]
) -> bytes:
    """The page, style and script included."""
    # Imported here: printing to the terminal needs no templates.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    funnel = constructions.funnel
    return (
        environment.get_template("page.html.j2")
        .render(
            title=title,
            report=report,
            stages=FUNNEL,
            funnel={step: funnel[step] for step in sorted(funnel)},
            totals={stage: sum(counts[stage] for counts in funnel.values()) for stage in FUNNEL},
            chart=line_chart(funnel, FUNNEL),
            reasons=[(reason, n, n / report.total) for reason, n in constructions.reasons.most_common()],
            outcomes=["trained", *sorted(constructions.reasons)],
            checks=[(name, n, n / constructions.checks.total()) for name, n in constructions.checks.most_common()],
            index=Markup(script_json({"chunk": CHUNK, "rows": index})),
            chunks=chunks,
            style=Markup((folder / "page.css").read_text(encoding="utf-8")),
            script=Markup((folder / "page.js").read_text(encoding="utf-8")),
        )
        .encode("utf-8")
    )


def print_report(report: PageReport, html: Path, console: Console) -> None:
    """Say what the page holds and what it leaves out."""
    console.print(f"wrote {html}: {report.size / 1e6:.1f} MB", markup=False)
    console.print(f"{report.shown} trajectories of {report.fitting} that fit, {report.total} in all")
    if report.unshaded:
        console.print(f"{report.unshaded} trained trajectories come without token weights", style="yellow")
    print_skipped(report.unfinished, console)
