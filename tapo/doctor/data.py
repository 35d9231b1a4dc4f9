"""The training data: whether the reward knows its answers, and whether its prompts fit."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tapo.chat import load_tokenizer, prompt_ids
from tapo.data.options import ColumnOptions
from tapo.data.queries import QueryFiles
from tapo.data.query import Query
from tapo.doctor.finding import Finding, fault, fine, skipped, warning
from tapo.generation.scoring import VERL, RewardFailed, RewardOptions, Scorer
from tapo.launch.checks import get

KNOWN = 3
"""Answers that are tried."""
RIGHT = ("Hence the answer is $\\boxed{{{}}}$.", "So that is it.\n#### {}", "Answer: {}", "<answer>{}</answer>", "{}")
"""How a response may state an answer; a reward reads one of them."""
WRONG = "I do not know."


def train_files(config: DictConfig) -> list[Path]:
    """`data.train_files`, which verl takes as one path or several."""
    files = get(config, "data.train_files")
    files = OmegaConf.to_container(files) if OmegaConf.is_config(files) else files
    return [Path(str(file)).expanduser() for file in (files if isinstance(files, list) else [files])]


def reward_options(config: DictConfig) -> RewardOptions:
    """The run's reward, as commands outside of a run name it."""
    node = "reward.custom_reward_function"
    kwargs = get(config, f"{node}.reward_kwargs")
    return RewardOptions(
        reward_path=get(config, f"{node}.path") or VERL,
        reward_name=get(config, f"{node}.name") or "compute_score",
        reward_kwarg=OmegaConf.to_container(kwargs) if kwargs else {},
        correct_key=get(config, "algorithm.tapo.correct_key"),
        reward_threshold=float(get(config, "algorithm.tapo.reward_threshold") or 0.5),
    )


def look_at_data(config: DictConfig, prompts: int) -> Iterator[Finding]:
    """The reward on known answers, and the lengths of the first prompts."""
    files = train_files(config)
    if missing := [str(file) for file in files if not file.is_file()]:
        yield fault("data", f"data.train_files: {', '.join(missing)} is not there", "give parquet files of verl's form")
        return
    columns = ColumnOptions(prompt_key=get(config, "data.prompt_key"), reward_fn_key=get(config, "data.reward_fn_key"))
    try:
        queries = list(islice(QueryFiles(files, columns), prompts))
    except ValueError as error:
        yield fault("data", str(error), "see docs/data.md for the columns of a run")
        return
    yield from look_at_reward(config, queries)
    yield from look_at_lengths(config, queries)


def look_at_reward(config: DictConfig, queries: Sequence[Query]) -> Iterator[Finding]:
    """Whether it takes answers of the data for right, and no answer for wrong."""
    known = [query for query in queries if query.has_truth][:KNOWN]
    if not known:
        yield skipped("reward", "the data holds no answers to try it on")
        return
    try:
        scorer, limit = Scorer(options := reward_options(config)), reward_options(config).reward_threshold
        right = [asyncio.run(_best(scorer, query)) for query in known]
        wrong = [asyncio.run(scorer.score(response=WRONG, **query.scoring)) for query in known]
    except (ValueError, RewardFailed) as error:
        yield fault("reward", str(error), "mend the reward function: a rollout that it raises on is lost")
        return
    if bad := [query.index for query, score in zip(known, right, strict=True) if score <= limit]:
        said = f"{options.reward} takes the data's own answer for wrong, in {len(bad)} of {len(known)} ({bad[0]})"
        yield fault("reward", said, "compare ground truth and reward: nothing would ever be correct")
    elif bad := [query.index for query, score in zip(known, wrong, strict=True) if score > limit]:
        said = f"{options.reward} takes {WRONG!r} for right, in {len(bad)} of {len(known)} ({bad[0]})"
        yield fault("reward", said, "raise algorithm.tapo.reward_threshold, or name algorithm.tapo.correct_key")
    else:
        yield fine("reward", f"{options.reward} knows {len(known)} answers of the data, and no answer from one")


async def _best(scorer: Scorer, query: Query) -> float:
    """The score of the answer in the form that the reward likes best."""
    return max([await scorer.score(response=form.format(query.truth_text), **query.scoring) for form in RIGHT])


def look_at_lengths(config: DictConfig, queries: Sequence[Query]) -> Iterator[Finding]:
    """Prompts longer than the run takes."""
    path = str(get(config, "actor_rollout_ref.model.path"))
    try:
        tokenizer = load_tokenizer(path)
    except (ValueError, OSError) as error:
        yield fault(
            "model", f"actor_rollout_ref.model.path: {str(error).splitlines()[0]}", "name a model with a chat template"
        )
        return
    kwargs: dict[str, Any] = dict(get(config, "data.apply_chat_template_kwargs") or {})
    lengths = [len(prompt_ids(query.prompt, tokenizer, kwargs)) for query in queries]
    most = get(config, "data.max_prompt_length")
    long = sum(length > most for length in lengths)
    if not long:
        yield fine("prompts", f"{len(lengths)} prompts of at most {max(lengths)} tokens, of {most}")
    elif get(config, "data.filter_overlong_prompts"):
        yield warning("prompts", f"{long} of {len(lengths)} are longer than {most} tokens, and left out", "")
    else:
        said = f"{long} of {len(lengths)} are longer than data.max_prompt_length = {most} tokens (up to {max(lengths)})"
        yield fault("prompts", said, "data.filter_overlong_prompts=true, or a larger data.max_prompt_length")
