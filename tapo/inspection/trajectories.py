"""Constructed trajectories in the terminal."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from tapo.dump import read_json_lines

STYLES = {"prefix": "red", "reflection": "bold yellow", "correction": "green"}


def print_trajectories(dump: Path, console: Console, *, limit: int, outcome: str, correct: bool) -> int:
    """Print the last `limit` constructions of a dump that fit, the most trained policy's; return how many.

    Raises:
        ValueError: the folder holds no constructions at all.
    """
    records = list(read_json_lines(dump, "constructions"))
    if not records:
        raise ValueError(f"{dump} holds no constructions-*.jsonl; set algorithm.tapo.dump_dir")
    chosen = [record for record in records if record["outcome"] == outcome and (not correct or record["reward"] > 0.5)]
    chosen = sorted(chosen, key=lambda record: record["step"])[-limit:]
    console.print(Text.assemble(*((f" {name} ", style) for name, style in STYLES.items())))
    for record in chosen:
        console.print(panel(record))
    if not chosen:
        console.print(f"none of {len(records)} constructions has outcome {outcome!r}")
    return len(chosen)


def panel(record: dict[str, Any]) -> Panel:
    """One trajectory below its query, its segments in their colours; the raw answer where nothing was spliced."""
    text = Text(record["query"] + "\n\n", style="dim")
    if record["prefix"] is None:
        text.append(record["answer"])
    else:
        for name, style in STYLES.items():
            text.append(record[name], style=style)
    reward = "-" if record["reward"] is None else f"{record['reward']:g}"
    title = f"step {record['step']} · {record['outcome']} · reward {reward} · {record['prefix_length']} tokens kept"
    return Panel(text, title=title, title_align="left")
