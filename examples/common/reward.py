"""The examples' reward: TAPO's, and beside it whether a response reflects needlessly, and whether its text is faithful.

In a launch config::

    reward:
      custom_reward_function:
        path: pkg://examples.common.reward
        name: compute_score
        reward_kwargs: {task: ${oc.env:TASK}}
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from examples.common.task import load_task
from tapo.rewards import compute_score as compute_math_score

_task = cache(load_task)


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any], *, task: str, **options: Any
) -> dict[str, Any]:
    """Score one response.

    Args:
        data_source, solution_str, ground_truth, options: see `tapo.rewards.compute_score`.
        extra_info: holds the `query`, as rows of `make_data.py` do.
        task: folder of the task.

    Returns:
        What `tapo.rewards.compute_score` returns, `needless_reflection` (1 or 0) and, where the task has a rule for it,
        `faithful` (1 or 0).

    Raises:
        ValueError: as there; also where `extra_info` holds no query of the task.
    """
    if "query" not in extra_info:
        raise ValueError(f"extra_info of data_source {data_source!r} has no query: make the data with make_data.py")
    score = compute_math_score(data_source, solution_str, ground_truth, extra_info, **options)
    told, query = _task(task), extra_info["query"]
    score = {**score, "needless_reflection": int(told.needless_reflection(query, solution_str))}
    return score if told.faithful is None else {**score, "faithful": int(not told.faithful(query, solution_str))}
