"""Ground truths out of whatever a dataset calls its answers."""

import math
import re
from decimal import Decimal
from typing import Any

from tapo.data.query import UnusableRow
from tapo.rewards.boxed import last_boxed
from tapo.rewards.math_verify_reward import normalise
from tapo.rewards.verifier_pool import shared_pool

NO_ANSWER = "no answer"
NO_TEXT = "answer is neither text nor number"
NOT_PARSABLE = "answer that math-verify cannot read"

_WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_MATH = re.compile(r"\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL)
_OTHER_THAN_ANY_ANSWER = "-9182736455463728190"


def ground_truth_of(value: Any) -> str:
    r"""The answer as text, without `$`, `\(`, `\boxed{}`, and the `.0` of a whole number in a column of floats.

    A list of one answer stands for that answer. `UnusableRow` if nothing is left, or it is neither text nor a number.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = str(int(value) if value == int(value) else value) if math.isfinite(value) else None
    if value is None:
        raise UnusableRow(NO_ANSWER)
    if not isinstance(value, str):
        raise UnusableRow(NO_TEXT)
    boxed = last_boxed(value)
    text = normalise(value if boxed is None else boxed)
    if match := _MATH.fullmatch(text):
        text = normalise(match[1] or match[2] or "")
    if match := _WHOLE_FLOAT.fullmatch(text):
        text = match[1]
    if not text:
        raise UnusableRow(NO_ANSWER)
    return text


def check_readable(answer: str, timeout_s: float = 5.0) -> None:
    """Ask math-verify, in a process that is killed at the time-out, whether an answer is an expression to it.

    Raises:
        UnusableRow: it is not, so that only an answer equal to the letter could ever be correct.
        RuntimeError: math-verify's process cannot be started.
    """
    if _NUMBER.fullmatch(answer):
        return
    if shared_pool(1).verify(_OTHER_THAN_ANY_ANSWER, answer, timeout_s) not in ("equal", "different"):
        raise UnusableRow(NOT_PARSABLE)
