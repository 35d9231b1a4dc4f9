"""The stages that the commands run: each is skipped where its output is complete, and says what it did."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tapo.config import ConfigError
from tapo.data.answers import check_readable
from tapo.data.decontamination import NGRAM, THRESHOLD, Decontaminator, decontaminate, write_report
from tapo.data.instruction import BOXED_INSTRUCTION
from tapo.data.pass_rate import Band, filter_queries, histogram_table
from tapo.data.prepare import Columns, Preparation, write_rows
from tapo.data.problems import Row, fingerprint_of_source, iter_rows
from tapo.data.queries import QueryFiles, require_file
from tapo.data.rollout_store import RolloutStore
from tapo.files.fingerprint import fingerprint_of_file
from tapo.files.markers import is_complete, report_of, stage


@dataclass(frozen=True)
class PrepareOptions:
    """What decides about a prepared dataset.

    Raises:
        ConfigError: no source.
    """

    source: str | None
    """File, dataset folder or hub id."""
    columns: Columns
    data_source: str
    split: str
    """For `extra_info.split`."""
    hub_split: str = "train"
    """To load from a dataset folder or the hub."""
    subset: str | None = None
    limit: int | None = None
    check_answers: bool = False
    against: Sequence[Path] = ()
    """Evaluation problems that must not be among the prepared ones."""
    ngram: int = NGRAM
    threshold: float = THRESHOLD
    instruction: str = BOXED_INSTRUCTION
    """Follows every question; empty for none."""

    def __post_init__(self) -> None:
        if not self.source:
            raise ConfigError("--source", self.source, "a custom dataset needs a file, a dataset folder or a hub id")

    def fingerprint(self) -> dict[str, Any]:
        """Options and contents."""
        contents = {
            "source": fingerprint_of_source(str(self.source)),
            "against": [fingerprint_of_file(require_file(path)) for path in self.against],
        }
        return {"stage": "prepare"} | asdict(self) | contents


def run_prepare(options: PrepareOptions, out: Path, console: Console, show_dropped: int = 0) -> None:
    """Write a verl parquet file, and `OUT.contaminated.jsonl` where there are evaluation problems to stay clear of."""
    facts = options.fingerprint()
    if not is_complete(out, facts, console):
        shown: list[str] = []

        def show(reason: str, row: Row) -> None:
            if len(shown) < show_dropped:
                shown.append(f"dropped ({reason}): {row}")
                console.print(shown[-1], markup=False, highlight=False, overflow="ellipsis", no_wrap=True)

        preparation = Preparation(
            options.data_source, options.split, options.columns, on_drop=show, instruction=options.instruction
        )
        if options.check_answers:
            preparation.check_answer = check_readable
        if options.against:
            preparation.decontaminator = _index(Decontaminator(options.ngram, options.threshold), options.against)
        with stage(out, facts) as report:
            rows = iter_rows(str(options.source), split=options.hub_split, subset=options.subset)
            report["kept"] = write_rows(preparation, rows, str(options.source), out, options.limit)
            report["dropped"] = dict(preparation.dropped)
            if options.against:
                write_report(_contaminated(out), preparation.contaminated)
    _print_counts(out, report_of(out), console)


def run_decontaminate(
    train: Path, against: Sequence[Path], index: Decontaminator, out: Path, report: Path | None, console: Console
) -> None:
    """Write the training queries that match none of the evaluation problems, and a list of those that do."""
    listed = report or _contaminated(out)
    facts = {
        "stage": "decontaminate",
        "train": fingerprint_of_file(require_file(train)),
        "against": [fingerprint_of_file(require_file(path)) for path in against],
        "ngram": index.ngram,
        "threshold": index.threshold,
        "report": str(listed),
    }
    if not is_complete(out, facts, console):
        with stage(out, facts) as result:
            kept, dropped = decontaminate(train, _index(index, against), out, listed)
            result |= {"kept": kept, "dropped": {"evaluation problem": dropped}}
    _print_counts(out, report_of(out), console)
    console.print(f"evaluation problems found are listed in {listed}", highlight=False, markup=False, soft_wrap=True)


def run_filter(
    rollouts: Path, data: QueryFiles, out: Path, band: Band, threshold: float, allow_missing: bool, console: Console
) -> None:
    """Write the queries whose pass rate lies in the band, and print the histogram."""
    store = RolloutStore.open(rollouts)
    facts = {
        "stage": "filter",
        "rollouts": store.content_fingerprint(),
        "data": data.fingerprint(),
        "band": asdict(band),
        "threshold": threshold,
        "allow_missing": allow_missing,
    }
    if not is_complete(out, facts, console):
        with stage(out, facts) as report:
            report |= filter_queries(store, data, out, band, threshold=threshold, allow_missing=allow_missing)
    report = report_of(out)
    console.print(histogram_table(report))
    dropped = {"too hard": report["too_hard"], "too easy": report["too_easy"], "without rollouts": report["missing"]}
    dropped |= {f"{reason} (rows)": count for reason, count in report.get("unusable", {}).items()}
    _print_counts(out, {"kept": report["kept"], "dropped": dropped}, console)
    if report.get("rows", report["kept"]) != report["kept"]:
        console.print(f"{report['rows']} rows: the data repeats queries", highlight=False)


def _index(index: Decontaminator, paths: Sequence[Path]) -> Decontaminator:
    for path in paths:
        index.add_file(path)
    return index


def _contaminated(out: Path) -> Path:
    return out.with_name(f"{out.name}.contaminated.jsonl")


def _print_counts(out: Path, report: dict[str, Any], console: Console) -> None:
    console.print(str(out), markup=False, highlight=False, soft_wrap=True)
    table = Table("", "queries")
    table.add_row("kept", str(report["kept"]))
    for reason, count in report["dropped"].items():
        table.add_row(f"dropped: {reason}", str(count))
    console.print(table)
