"""What a cold-start data set is made of: counts, lengths, kept prefixes, and where it comes from."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Template

from tapo.cold_start.mixture import UNTAUGHT, Choice
from tapo.cold_start.options import Recipe
from tapo.cold_start.store import INELIGIBLE, KEPT, QueryConstructions
from tapo.files.atomic import write_text_atomically
from tapo.versions import installed_versions

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TEMPLATE = Path(__file__).with_name("datasheet.md.j2")


@dataclass
class Tally:
    """What the datasheet counts of the queries, told of one after the other: outcomes by data source and of attempts,
    lengths of trajectories in tokens, kept shares of the wrong responses."""

    queries: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    attempts: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    prefixes: list[float] = field(default_factory=list)

    def add(self, query: QueryConstructions) -> None:
        """Count a query."""
        self.queries[query.data_source][query.outcome] += 1
        self.attempts.update(KEPT if attempt is query.kept else attempt.outcome for attempt in query.attempts)
        if kept := query.kept:
            self.lengths.append(kept.tokens)
            self.prefixes.append((kept.prefix_length or 0) / kept.wrong_tokens)


def datasheet(
    tally: Tally, choice: Choice, recipe: Recipe, counts: Mapping[str, Counter], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The datasheet as JSON could hold it."""
    outcomes = sorted({outcome for counter in tally.queries.values() for outcome in counter}, key=_rank)
    splits = {split: counter for split, counter in counts.items() if split != UNTAUGHT}
    left_out = sum(counts.get(UNTAUGHT, Counter()).values())
    untaught = [f"{left_out} constructions left out: no quote means their erroneous passage alone"] if left_out else []
    lengths, prefixes = _quantiles(tally.lengths, 0), _quantiles(tally.prefixes, 3)
    return {
        "chats": {
            "total": sum(sum(counter.values()) for counter in splits.values()),
            "by_split": {split: dict(counter) for split, counter in splits.items()},
            "wanted": recipe.wanted,
        },
        "short": shortfalls(choice, recipe) + untaught,
        "queries": {source: dict(counter) for source, counter in sorted(tally.queries.items())},
        "outcomes": outcomes,
        "attempts": dict(tally.attempts),
        "quantiles": list(QUANTILES),
        "distributions": {"trajectory tokens": lengths, "kept share of the rollout": prefixes},
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
