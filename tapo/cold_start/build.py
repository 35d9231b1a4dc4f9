"""Stages of `tapo cold-start build`: construct, mix, describe."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.cold_start.chats import END_KEY, TEMPLATE_KEY, write_chats
from tapo.cold_start.construct import ConstructionTask
from tapo.cold_start.datasheet import datasheet, write_datasheet
from tapo.cold_start.mixture import Recipe
from tapo.cold_start.store import ConstructionStore, QueryConstructions
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.generation.progress import Progress
from tapo.generation.stream import in_order


async def construct_all(
    sources: Sequence[RolloutStore],
    store: ConstructionStore,
    task: ConstructionTask,
    *,
    at_once: int,
    part_size: int,
    progress: Progress,
) -> None:
    """Fill `store` with a record of each query that it lacks, a part whenever `part_size` of them are complete.

    Killed and started again, it repeats the queries of the part under way alone. What is complete when an engine
    fails or the user interrupts is written before the exception goes on.

    Raises:
        ValueError: two sources hold the same query.
    """
    part: list[QueryConstructions] = []
    try:
        async for record in in_order(_todo(sources, store.done(), progress), task, at_once=at_once):
            part.append(record)
            progress.advance()
            if len(part) == part_size:
                full, part = part, []
                store.append(full)
    finally:
        store.append(part)


def _todo(sources: Sequence[RolloutStore], done: set[str], progress: Progress) -> Iterator[QueryRollouts]:
    seen: set[str] = set()
    for source in sources:
        for rollouts in source:
            if rollouts.index in seen:
                raise ValueError(f"query {rollouts.index} is in two stores of rollouts, the second is {source.folder}")
            seen.add(rollouts.index)
            if rollouts.index in done:
                progress.advance(done_before=True)
            else:
                yield rollouts


def count_queries(sources: Sequence[RolloutStore]) -> int:
    """Queries in all sources.

    Raises:
        ValueError: there is none.
    """
    total = sum(len(source.done()) for source in sources)
    if not total:
        raise ValueError(f"{', '.join(str(source.folder) for source in sources)}: no rollouts yet, run `tapo rollout`")
    return total


def mix(
    store: ConstructionStore,
    recipe: Recipe,
    folder: Path,
    facts: Mapping[str, Any],
    console: Console,
    *,
    end_token: int | None = None,
) -> None:
    """Write chats and datasheet, and say where the data gives fewer than asked for."""
    sampled = {TEMPLATE_KEY: facts["template"], END_KEY: end_token}
    choice, counts = write_chats(store, recipe, folder, facts["prompt"], sampled)
    sheet = datasheet(store, choice, recipe, counts, facts)
    write_datasheet(sheet, folder)
    for line in sheet["short"]:
        console.print(line, style="yellow", highlight=False, soft_wrap=True)
    attempts = dict(sheet["attempts"])
    tried = sum(attempts.values())
    console.print(f"{attempts.get('kept', 0)} trajectories from {tried} attempts", highlight=False, soft_wrap=True)
    for reason, count in sorted(itertools.filterfalse(lambda item: item[0] == "kept", attempts.items())):
        console.print(f"  rejected, {reason}: {count}", highlight=False, soft_wrap=True)
    console.print(
        f"{sheet['chats']['total']} chats in {folder}, described in {folder / 'datasheet.md'}", highlight=False
    )
