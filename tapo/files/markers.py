"""Markers of finished stages, so that a pipeline that is started again does nothing twice."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tapo.files.atomic import write_text_atomically
from tapo.files.fingerprint import as_json, differences
from tapo.terminal import say


def marker_of(output: Path) -> Path:
    """`OUTPUT.stage.json`, beside the output."""
    return output.with_name(f"{output.name}.stage.json")


def is_complete(output: Path, fingerprint: Mapping[str, Any], console: Console) -> bool:
    """Whether `output` was finished from these inputs and options; says why where it was finished from others. A
    marker that is no JSON is a ValueError, here and in `report_of`."""
    if not marker_of(output).exists() or not output.exists():
        return False
    before = _read(output)
    changed = differences(before["fingerprint"], as_json(fingerprint))
    changed += differences({"bytes": before["bytes"]}, {"bytes": _size(output)})
    if changed:
        say(f"{output} is made again: {'; '.join(changed)}", console)
    return not changed


@contextlib.contextmanager
def stage(output: Path, fingerprint: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Around what writes `output` (a file or a folder): the marker goes first and comes back when all went well.

    Yields:
        The stage's report, to be filled with what `report_of` is to return, as JSON could hold it.
    """
    facts = as_json(fingerprint)
    report: dict[str, Any] = {}
    marker_of(output).unlink(missing_ok=True)
    yield report
    record = {"fingerprint": facts, "bytes": _size(output), "report": report}
    write_text_atomically(marker_of(output), json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def report_of(output: Path) -> dict[str, Any]:
    """What the stage that finished `output` reported."""
    return _read(output)["report"]


def print_counts(output: Path, report: Mapping[str, Any], console: Console) -> None:
    """The output's name, and the report's `kept` and `dropped` (queries by reason) as a table."""
    say(str(output), console)
    table = Table("", "queries")
    table.add_row("kept", str(report["kept"]))
    for reason, count in report["dropped"].items():
        table.add_row(f"dropped: {reason}", str(count))
    console.print(table)


def _read(output: Path) -> dict[str, Any]:
    marker = marker_of(output)
    try:
        return json.loads(marker.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{marker} is damaged ({error}); delete it and {output} is made again") from error


def _size(output: Path) -> int:
    """Bytes of a file, or of the files of a folder."""
    files = [output] if output.is_file() else [path for path in output.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)
