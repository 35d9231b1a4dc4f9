"""The reward of the soak: that of the package, by its verifier and its children, looked at and at times broken."""

import re
from typing import Any

import tapo.rewards
from tapo.rewards import last_boxed
from tests.soak.chance import chance

WRONG_SCORE = "WRONG SCORE"


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: dict[str, Any] | None = None
) -> Any:
    chance().strike("reward raises")
    # An expression, which no comparison of numbers settles: the verifier is asked.
    asked = rf"\frac{{{2 * int(ground_truth)}}}{{2}}"
    score = tapo.rewards.compute_score(data_source, solution_str, asked, extra_info, timeout_s=30.0)
    answer = last_boxed(solution_str)
    if answer is not None and re.fullmatch("[0-9]{1,6}", answer) and score["score"] != (answer == str(ground_truth)):
        chance().note(WRONG_SCORE)
    return score
