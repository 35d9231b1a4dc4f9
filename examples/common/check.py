"""The check of constructions by a task's own rule.

    TASK=examples/arithmetic python -m verl.trainer.main_ppo +tapo=default
        algorithm.tapo.construction.check=examples/common/check.py:check ...

The folder in the environment's TASK says whose rule it is: `Task.faithful`.
"""

from __future__ import annotations

from examples.common.teacher import task


def check(query: str, prefix: str, reflection: str, correction: str, is_correct: bool) -> str:
    """What is wrong with a construction's text; "" where nothing is.

    Raises:
        ValueError: the task has no rule, or the query is none of the task's.
    """
    rule = task().faithful
    if rule is None:
        raise ValueError(f"{task().name} has no rule: its TASK lacks `faithful`")
    return rule(query, prefix + reflection + correction)
