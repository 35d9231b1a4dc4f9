"""`tapo baseline sft-data`: correct responses as `messages` parquet for verl's SFT trainer."""

import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.baselines.sft.options import SftDataOptions
from tapo.baselines.sft.responses import Response, Tally, correct_responses, find_source, source_fingerprint
from tapo.cold_start.chats import END_KEY, TEMPLATE_KEY, Buckets, end_token
from tapo.data.rollout_store import RolloutStore
from tapo.files.atomic import atomic_path
from tapo.files.fingerprint import fingerprint_of_file
from tapo.files.markers import is_complete, stage
from tapo.generation.engine import derived_seed
from tapo.terminal import say

SPLITS = ("train", "val")
REPEATED = "the same response to the same query"
BEYOND_MOST = "more of a query than --most"


def run_sft_data(options: SftDataOptions, console: Console) -> None:
    """Write what is missing, and say what was left out.

    Raises:
        ValueError: nothing to train on, fewer than two queries, or a source that cannot be read.
    """
    output = options.out / "train.parquet"
    facts = {
        "sources": [source_fingerprint(folder, options.kind) for folder in options.sources],
        "data": [fingerprint_of_file(path) for path in options.data],
        "options": options.model_dump(mode="json", exclude={"sources", "out", "data"}),
    }
    if is_complete(output, facts, console):
        say(f"{output} is complete", console)
        return
    tally = Tally()
    chats = kept_chats(list(correct_responses(options, tally)), options, tally)
    if len(chats) < 2:
        raise ValueError(f"{len(chats)} queries have a chat, of {tally.read} {options.kind} responses: needs 2 or more")
    with stage(output, facts) as report:
        report |= write_splits(chats, options, _metadata(options))
        report |= {"read": tally.read, "dropped": dict(tally.dropped), "tokens_generated": tally.tokens_generated}
    say(f"{report['train']} chats to train on and {report['val']} held out, of {tally.read}: {options.out}", console)
    for reason, count in tally.dropped.most_common():
        say(f"  left out, {reason}: {count}", console)


def kept_chats(responses: Sequence[Response], options: SftDataOptions, tally: Tally) -> dict[str, list[Response]]:
    """The responses of each query that differ, at most `most` of them, drawn by seed."""
    chats: dict[str, dict[str, Response]] = {}
    for response in responses:
        of_query = chats.setdefault(response.index, {})
        tally.dropped[REPEATED] += response.text in of_query
        of_query.setdefault(response.text, response)
    kept = {}
    for index, by_text in chats.items():
        texts = list(by_text)
        random.Random(derived_seed(options.seed, "chats", index)).shuffle(texts)
        kept[index] = [by_text[text] for text in texts[: options.most]]
        tally.dropped[BEYOND_MOST] += len(texts) - len(kept[index])
    tally.dropped = +tally.dropped
    return kept


def held_out_queries(indices: Sequence[str], options: SftDataOptions) -> set[str]:
    """`val_share` of the queries, one or more, and never all."""
    order = sorted(indices, key=lambda index: (derived_seed(options.seed, "held out", index), index))
    return set(order[: min(max(round(len(order) * options.val_share), 1), len(order) - 1)])


def write_splits(
    chats: Mapping[str, Sequence[Response]], options: SftDataOptions, metadata: Mapping[bytes, Any]
) -> dict[str, int]:
    """Write both files in an order drawn by seed; returns their chats by split."""
    held_out = held_out_queries(list(chats), options)
    counts: Counter[str] = Counter()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out, prefix=".unshuffled-") as temporary:
        for split in SPLITS:
            with Buckets(Path(temporary) / split) as buckets:
                for index, of_query in chats.items():
                    if (index in held_out) is not (split == "val"):
                        continue
                    counts[split] += len(of_query)
                    for number, response in enumerate(of_query):
                        buckets.add(_row(response, number, options))
                with atomic_path(options.out / f"{split}.parquet") as out:
                    buckets.write_sorted(out, metadata)
    return {split: counts[split] for split in SPLITS}


def _row(response: Response, number: int, options: SftDataOptions) -> dict[str, Any]:
    index = f"{response.index}/{number}"
    return {
        "messages": [*response.prompt, {"role": "assistant", "content": response.text}],
        "kind": options.kind,
        "index": index,
        "data_source": response.data_source,
        "position": derived_seed(options.seed, "position", options.kind, index),
    }


def _metadata(options: SftDataOptions) -> dict[bytes, Any]:
    """How the responses were sampled, for the SFT to be held to: as the command says, else as the stores do."""
    stores = [place for place, _ in (find_source(folder, options.kind) for folder in options.sources)]
    known = [store.fingerprint["template"] for store in stores if "template" in getattr(store, "fingerprint", {})]
    rollouts = [store for store in stores if isinstance(store, RolloutStore)]
    template = options.template or next(iter(known), {})
    return {TEMPLATE_KEY: dict(template), END_KEY: end_token(rollouts)}
