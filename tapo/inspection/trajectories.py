"""Constructed trajectories in the terminal."""

import json
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from tapo.core.funnel import FUNNEL
from tapo.core.objections import named
from tapo.inspection.constructions import Constructions, read_constructions
from tapo.inspection.options import InspectOptions
from tapo.records import ConstructionRecord
from tapo.terminal import harmless, say

STYLES = {"prefix": "red", "reflection": "bold yellow", "correction": "green"}
DROPPED = "dim strike"
HEADING = "bold cyan"
LIMIT = 3
"""Trajectories that are printed, unless asked for more."""
FOLDED_LINES = 6
"""Lines that are shown of a sibling, and of a wrong rollout that nothing was spliced onto, unless asked for more."""


def print_trajectories(options: InspectOptions, console: Console) -> int:
    """Print the last trajectories that are asked for, the most trained policy's; return how many.

    Raises:
        ValueError: see `read_constructions`.
    """
    constructions = read_constructions(options.dump, reward_threshold=options.reward_threshold)
    chosen = constructions.chosen(options)
    shown = chosen[-(options.limit or LIMIT) :]
    styles = {**STYLES, "dropped": DROPPED}
    console.print(Text.assemble(*((f" {name} ", style) for name, style in styles.items())))
    for entry in shown:
        console.print(panel(constructions.load(entry), full=options.full))
    console.print(f"{len(shown)} of {len(chosen)} that fit, {len(constructions.entries)} in all")
    print_counts(constructions, console)
    print_skipped(constructions.records.unfinished, console)
    return len(shown)


def print_counts(constructions: Constructions, console: Console) -> None:
    """The funnel of all constructions and, where the run had a check, of how many it said what."""
    funnel = sum(constructions.funnel.values(), Counter())
    say(", ".join(f"{stage} {funnel[stage]}" for stage in FUNNEL), console)
    if checks := constructions.checks:
        said = ", ".join(f"{name} {number}" for name, number in checks.most_common())
        say(f"check: {harmless(said)}", console)


def print_skipped(unfinished: list[Path], console: Console) -> None:
    """Say how many half-written last lines were left out, and of which files."""
    if unfinished:
        names = ", ".join(path.name for path in unfinished)
        console.print(f"{len(unfinished)} half-written last line(s) skipped: {names}", style="yellow", markup=False)


def panel(record: ConstructionRecord, *, full: bool) -> Panel:
    """One trajectory below its query: its segments, what the wrong rollout went on with, and the sibling.

    Where nothing was spliced, the raw answer and the wrong rollout stand instead.
    """
    text = Text().append(query_text(record) + "\n\n", style="dim")
    if record.prefix is None:
        text.append(record.answer or "(no answer)")
        add_section(text, "wrong rollout", record.wrong, full=full)
    else:
        for name, style in STYLES.items():
            text.append(getattr(record, name), style=style)
        if dropped := record.wrong.removeprefix(record.prefix):
            text.append("\n\ndropped from the wrong rollout\n", style=HEADING)
            text.append(dropped, style=DROPPED)
    add_section(text, "correct sibling", record.correct, full=full)
    reward = "-" if record.reward is None else f"{record.reward:g}"
    kept = "nothing spliced" if record.prefix is None else f"{record.prefix_length} tokens kept"
    title = f"step {record.step} · {record.outcome} · reward {reward} · {kept}"
    if record.check is not None:
        title += f" · check: {harmless(named(record.check))}"
    text.plain = harmless(text.plain)
    return Panel(text, title=title, title_align="left")


def add_section(text: Text, name: str, content: str, *, full: bool) -> None:
    """Append a text under its name, folded to its first lines unless `full`."""
    lines = content.splitlines()
    shown = lines if full else lines[:FOLDED_LINES]
    text.append(f"\n\n{name}\n", style=HEADING)
    text.append("\n".join(shown), style="dim")
    if len(shown) < len(lines):
        text.append(f"\n({len(lines) - len(shown)} more lines with --full)", style="cyan")


def query_text(record: ConstructionRecord) -> str:
    """The query; one of several parts as JSON."""
    query = record.query
    return query if isinstance(query, str) else json.dumps(query, ensure_ascii=False)
