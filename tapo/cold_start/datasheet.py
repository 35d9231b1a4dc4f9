"""What a cold-start data set is made of: counts, lengths, kept prefixes, and where it comes from."""

import importlib.metadata
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

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PACKAGES = ("tapo-verl", "verl", "torch", "transformers", "vllm", "math-verify")

_MARKDOWN = Template(
    """# Cold-start data

{{ sheet.chats.total }} chats: {% for split, kinds in sheet.chats.by_split.items() %}{{ split }} \
({% for kind, n in kinds.items() %}{{ n }} {{ kind }}{{ ", " if not loop.last }}{% endfor %})\
{{ "; " if not loop.last }}{% endfor %}.
{% for line in sheet.short %}
**{{ line }}**
{% endfor %}
| queries by source | {{ sheet.outcomes | join(" | ") }} |
| --- |{{ " --- |" * (sheet.outcomes | length) }}
{% for source, counts in sheet.queries.items() -%}
| {{ source }} |{% for outcome in sheet.outcomes %} {{ counts.get(outcome, 0) }} |{% endfor %}
{% endfor %}
`kept`: a trajectory was built. `ineligible`: too few right or wrong responses. Anything else: why the last attempt was
rejected.

| quantile | {{ sheet.quantiles | join(" | ") }} |
| --- |{{ " --- |" * (sheet.quantiles | length) }}
{% for name, values in sheet.distributions.items() -%}
| {{ name }} |{% for value in values %} {{ value }} |{% endfor %}
{% endfor %}
| fact | value |
| --- | --- |
| model | {{ sheet.facts.model_path }} |
| seed | {{ sheet.facts.seed }} |
{% for name, value in sheet.facts.versions.items() -%}
| {{ name }} | {{ value }} |
{% endfor %}
Prompt, sampling, limits, recipe and the fingerprints of model and rollouts are in `datasheet.json`.""",
    trim_blocks=False,
)


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
        "facts": {**facts, "recipe": recipe.model_dump(), "versions": versions()},
    }


def shortfalls(choice: Choice, recipe: Recipe) -> list[str]:
    """A sentence for each kind of which there are fewer than wanted."""
    return [
        f"{len(choice.chosen[kind])} {kind} examples instead of {wanted}: the data gives no more"
        for kind, wanted in recipe.wanted.items()
        if len(choice.chosen[kind]) < wanted
    ]


def write_datasheet(sheet: Mapping[str, Any], folder: Path) -> None:
    """`datasheet.json` and `datasheet.md`."""
    write_text_atomically(folder / "datasheet.json", json.dumps(sheet, indent=1, ensure_ascii=False) + "\n")
    write_text_atomically(folder / "datasheet.md", _MARKDOWN.render(sheet=sheet) + "\n")


def versions() -> dict[str, str]:
    """Of the packages that decide about the data, where installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _quantiles(values: Sequence[float], digits: int) -> list[float]:
    return [round(float(np.quantile(values, share)), digits) for share in QUANTILES] if values else []


def _rank(outcome: str) -> tuple[int, str]:
    return ((KEPT, INELIGIBLE).index(outcome) if outcome in (KEPT, INELIGIBLE) else 2, outcome)
