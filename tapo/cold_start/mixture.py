"""Which constructions and responses become chats of the cold start (the paper's 30,000 SFT and 15,000 IFT examples)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tapo.cold_start.options import Recipe
from tapo.cold_start.store import KEPT, QueryConstructions
from tapo.core.form import Form, taught_answer
from tapo.core.prompts import construction_messages
from tapo.generation.engine import SEED_RANGE, derived_seed

KINDS = ("reflective", "plain", "construction")
"""Query -> trajectory, query -> correct response, construction prompt -> tagged answer."""

UNTAUGHT = "left out"
"""In place of a split: chats that a form of construction cannot be taught by."""

Choice = Mapping[str, frozenset[str]]
"""By kind, the indices of the queries that give a chat."""


def choose(records: Iterable[Mapping[str, Any]], recipe: Recipe) -> Choice:
    """Draw the queries of each kind, the same ones in whatever order the records come.

    Trajectories and constructions come from the same queries. They are drawn from the two ends of one random order,
    so that they share a query only where there are too few for both; plain responses go first to queries that give
    no trajectory.

    Args:
        records: of the construction stage; `index`, `outcome` and `plain` are read.

    Raises:
        ValueError: there is nothing to draw from.
    """
    kept, plain = [], []
    for record in records:
        if record["outcome"] == KEPT:
            kept.append(record["index"])
        if record["plain"]:
            plain.append(record["index"])
    if not kept and not plain:
        raise ValueError("no construction was kept and no response is correct: there is nothing to train on")
    wanted = recipe.wanted
    order = _shuffled(kept, recipe.seed, "kept")
    reflective = order[: wanted["reflective"]]
    constructions = order[max(0, len(order) - wanted["construction"]) :]
    taken = set(reflective)
    ordered_plain = sorted(_shuffled(plain, recipe.seed, "plain"), key=taken.__contains__)
    chosen = {"reflective": reflective, "plain": ordered_plain[: wanted["plain"]], "construction": constructions}
    return {kind: frozenset(indices) for kind, indices in chosen.items()}


def messages_of(
    kind: str, query: QueryConstructions, prompts: Mapping[Form, str], seed: int
) -> list[dict[str, str]] | None:
    """The chat of one kind that a query gives, its last message the one to learn; None where it cannot be taught.

    Args:
        prompts: the construction prompt of each form that is taught; of several, each query teaches one.
    """
    if kind == "plain":
        return [*query.prompt, {"role": "assistant", "content": query.plain}]
    kept = query.kept
    assert kept, f"query {query.index} has no trajectory"
    if kind == "reflective":
        return [*query.prompt, {"role": "assistant", "content": kept.trajectory}]
    form = list(prompts)[derived_seed(seed, "form", query.index) % len(prompts)]
    request = construction_messages(query.prompt, wrong=kept.wrong, correct=kept.correct, template=prompts[form])
    segments = {"prefix": kept.prefix or "", "reflection": kept.reflection or "", "correction": kept.correction or ""}
    answer = taught_answer(kept.answer, wrong=kept.wrong, form=form, **segments)
    return None if answer is None else [*request, {"role": "assistant", "content": answer}]


def held_out(index: str, recipe: Recipe) -> bool:
    """Whether a query belongs to the validation split, with all its chats."""
    return derived_seed(recipe.seed, "held out", index) < recipe.val_share * SEED_RANGE


def position(index: str, kind: str, recipe: Recipe) -> int:
    """Where a chat stands in the shuffled split."""
    return derived_seed(recipe.seed, "position", kind, index)


def _shuffled(indices: Sequence[str], seed: int, purpose: str) -> list[str]:
    return sorted(indices, key=lambda index: (derived_seed(seed, purpose, index), index))
