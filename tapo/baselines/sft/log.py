"""`tapo baseline sft-log`: the log of an SFT baseline in the form of an RL run's, so that both are compared alike."""

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from tapo.baselines.sft.options import SftLogOptions
from tapo.evaluation.folders import METRICS
from tapo.evaluation.training_logs import TRAINING_STEP, logged_steps
from tapo.files.atomic import write_text_atomically
from tapo.files.markers import report_of
from tapo.terminal import say

OF_THE_SOURCE = (
    TRAINING_STEP,
    "training/epoch",
    "training/filter_groups/",
    "response_length",
    "prompt_length",
    "perf/total_num_tokens",
    "timing_s/gen",
    "timing_s/step",
    "tapo/groups/",
    "tapo/construct/",
    "tapo/tokens/construct_generated",
    "tapo/timing_s/",
)
"""How the names of the metrics begin that say what it cost to collect the data; what the others say of training and
rewards is the run's own and not this one's."""


def run_sft_log(options: SftLogOptions, console: Console) -> None:
    """Write the log.

    Raises:
        ValueError: the run has not come to `last_step`.
    """
    steps = _steps_of(options)
    last = steps[options.last_step]
    if options.validation:
        last |= {
            key: v for _, data in logged_steps(options.validation) for key, v in data.items() if key.startswith("val-")
        }
    last |= {f"sft/{key}": value for key, value in _learned(options).items()}
    for step, known in _known_before(options):
        steps.setdefault(step, {TRAINING_STEP: step}).update(known)
    lines = (json.dumps({"step": step, "data": data}) for step, data in sorted(steps.items()))
    write_text_atomically(options.out, "".join(f"{line}\n" for line in lines))
    say(f"{options.out}: {len(steps)} steps", console)


def _steps_of(options: SftLogOptions) -> dict[int, dict[str, Any]]:
    """What each step of the run cost to generate; without a run, nothing of one step."""
    if options.source is None:
        return {options.last_step: {TRAINING_STEP: options.last_step}}
    logged = ((step, data) for step, data in logged_steps(options.source / METRICS) if TRAINING_STEP in data)
    steps = {step: _generated(data) for step, data in logged if step <= options.last_step}
    if options.last_step not in steps:
        raise ValueError(f"last_step = {options.last_step} cannot work: {options.source} has {len(steps)} steps")
    return steps


def _known_before(options: SftLogOptions) -> Iterator[tuple[int, dict[str, Any]]]:
    """What the log says already of SFTs on the data of fewer steps."""
    for step, data in logged_steps(options.out) if options.out.exists() else ():
        known = {key: value for key, value in data.items() if key.startswith(("sft/", "val-"))}
        if known and step < options.last_step:
            yield step, known


def _generated(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key.startswith(OF_THE_SOURCE)}


def _learned(options: SftLogOptions) -> dict[str, Any]:
    """Chats, updates, tokens and the last loss of the SFT; of stores, what their responses cost to generate."""
    records = [data for _, data in logged_steps(options.sft / METRICS)]
    trained = [data for data in records if "train/loss" in data]
    report = report_of(options.data / "train.parquet")
    facts: dict[str, Any] = {"chats": report["train"], "updates": len(trained)}
    if report["tokens_generated"]:
        facts["tokens_generated"] = report["tokens_generated"]
    for name, key in (("loss", "train/loss"), ("tokens", "train/total_tokens(B)")):
        if values := [data[key] for data in trained if data.get(key) is not None]:
            facts[name] = values[-1] if name == "loss" else round(values[-1] * 1e9)
    return facts
