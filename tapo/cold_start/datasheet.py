"""What a cold-start data set is made of: counts, lengths, kept prefixes, and where it comes from."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Template

from tapo.cold_start.mixture import Choice
from tapo.cold_start.options import Recipe
from tapo.cold_start.store import INELIGIBLE, KEPT, ConstructionStore
from tapo.files.atomic import write_text_atomically
from tapo.versions import installed_versions

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TEMPLATE = Path(__file__).with_name("datasheet.md.j2")


def datasheet(
    store: ConstructionStore, choice: Choice, recipe: Recipe, counts: Mapping[str, Counter], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The datasheet as JSON could hold it."""
    queries: dict[str, Counter] = {}
    attempts: Counter = Counter()
    lengths, prefixes = [], []
    for query in store:
        queries.setdefault(query.data_source, Counter())[query.outcome] += 1
        attempts.update(KEPT if attempt is query.kept else attempt.outcome for attempt in query.attempts)
        if kept := query.kept:
            lengths.append(kept.tokens)
            prefixes.append((kept.prefix_length or 0) / kept.wrong_tokens)
    outcomes = sorted({outcome for counter in queries.values() for outcome in counter}, key=_rank)
    distributions = {"trajectory tokens": _quantiles(lengths, 0), "kept share of the rollout": _quantiles(prefixes, 3)}
    return {
        "chats": {
            "total": sum(sum(counter.values()) for counter in counts.values()),
            "by_split": {split: dict(counter) for split, counter in counts.items()},
            "wanted": recipe.wanted,
        },
        "short": shortfalls(choice, recipe),
        "queries": {source: dict(counter) for source, counter in sorted(queries.items())},
        "outcomes": outcomes,
        "attempts": dict(attempts),
        "quantiles": list(QUANTILES),
        "distributions": distributions,
        "facts": {**facts, "recipe": recipe.model_dump(), "versions": installed_versions()},
    }


def shortfalls(choice: Choice, recipe: Recipe) -> list[str]:
    """A sentence for each kind of which there are fewer than wanted."""
    return [
        f"{len(choice[kind])} {kind} examples instead of {wanted}: the data gives no more"
        for kind, wanted in recipe.wanted.items()
        if len(choice[kind]) < wanted
    ]


def write_datasheet(sheet: Mapping[str, Any], folder: Path) -> None:
    """`datasheet.json` and `datasheet.md`."""
    write_text_atomically(folder / "datasheet.json", json.dumps(sheet, indent=1, ensure_ascii=False) + "\n")
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    write_text_atomically(folder / "datasheet.md", template.render(sheet=sheet) + "\n")


def _quantiles(values: Sequence[float], digits: int) -> list[float]:
    return [round(float(np.quantile(values, share)), digits) for share in QUANTILES] if values else []


def _rank(outcome: str) -> tuple[int, str]:
    return ((KEPT, INELIGIBLE).index(outcome) if outcome in (KEPT, INELIGIBLE) else 2, outcome)
