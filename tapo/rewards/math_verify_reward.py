r"""The reward: 1 if the last ``\boxed{...}`` of a response equals the ground truth, by math-verify; never hangs.

In a verl launch command::

    reward.custom_reward_function.path=pkg://tapo.rewards reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs.timeout_s=5.0

(the path of this file does as well). verl calls the function from the thread pool of each of its
``reward.num_workers`` reward actors.
"""

import logging
import math
import re
from decimal import Decimal
from numbers import Number
from typing import Any, TypedDict

from tapo.rewards.boxed import last_boxed
from tapo.rewards.verifier_pool import shared_pool

logger = logging.getLogger(__name__)

# One way only to match any text, so that a hundred thousand digits take linear time.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
# An equals sign that stands for equality alone: not <=, :=, == or \neq.
_EQUALS = re.compile(r"(?<![<>!:=])=(?!=)")
# Digits, operators, brackets and the commands between them: what an expression without a name in it is made of.
_NUMERIC_PIECE = re.compile(r"[0-9.,+\-*/^(){}\s]|\\(?:[dt]?frac|cdot|times|div|sqrt|left|right)(?![a-zA-Z])")
_SPELLINGS = {"\\varnothing": "\\emptyset", "\N{DEGREE SIGN}": "^\\circ"}
"""What math-verify does not take for the same as the second."""
_PASSED_BY_VERL = frozenset({"reward_router_address", "reward_model_tokenizer"})  # only where a reward model runs
_warned_about: set[str] = set()


class Score(TypedDict):
    """What verl collects as reward extra info, one column a key; the keys and their types are always the same."""

    score: float
    """1.0 or 0.0: the reward."""
    acc: float
    """The same number, under the name by which verl's validation and its group filter know accuracy."""
    timeout: int
    """1 if the verification was killed at the time-out."""
    unparsable: int
    r"""1 if there was nothing to compare: no complete box, an empty or over-long one, no expression that math-verify
    can read, or one that its process died of. Never 1 together with ``timeout``."""
    pred: str
    r"""The answer: the box's content, normalised and cut at ``max_chars``; "" if there is none."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: dict[str, Any] | None = None,
    *,
    timeout_s: float = 5.0,
    max_chars: int = 1000,
    workers: int = 2,
    **kwargs: Any,
) -> Score:
    r"""Score one response. May be called from any thread, and from many at once.

    Args:
        data_source: names the data set in error messages.
        solution_str: the response, of any length; only its last complete ``\boxed{...}`` is looked at.
        ground_truth: a non-empty string (plain, LaTeX, in ``$``, or boxed) or a number.
        extra_info: not used, but for the prompt's ``index`` in error messages.
        timeout_s: wall seconds one verification may take; waiting for an idle process is not counted.
        max_chars: a longer answer is unparsable, unless it equals the ground truth to the letter.
        workers: the most math-verify processes at once, in each process that calls this function (60 MB each).

    Raises:
        ValueError: no ground truth, or an option out of range. verl fails the session, logs the traceback, and drops
            it from its group; a batch without any session left stops the run. A score of 0 instead would turn a
            mistake in the prompt set into prompts that silently teach nothing.
        RuntimeError: math-verify's process cannot be started.
    """
    _check_options(timeout_s, max_chars, workers, kwargs)
    gold = _gold(ground_truth, data_source, extra_info)
    boxed = last_boxed(solution_str)
    answer = "" if boxed is None else normalise(boxed)
    if not answer:
        return _score("unparsable", "")
    verdict = _decide_without_math_verify(gold, answer)
    if verdict is None and len(answer) > max_chars:
        verdict = "unparsable"
    if verdict is None:
        verdict = _verify(gold, answer, timeout_s, workers)
    return _score(verdict, answer[:max_chars])


def _verify(gold: str, answer: str, timeout_s: float, workers: int) -> str:
    """math-verify's verdict on an answer, and on what the answer says to equal it: of "6=5" it reads the 5 alone.

    Not where decimals are about, which may be rounded, nor where the ground truth is an equation itself.
    """
    verdict = shared_pool(workers).verify(gold, answer, timeout_s)
    exact = "." not in gold + answer and not _EQUALS.search(gold)
    for side in numeric_left_sides(answer) if exact and verdict == "equal" else ():
        if (of_side := shared_pool(workers).verify(gold, side, timeout_s)) in ("different", "timeout"):
            return of_side
    return verdict


def numeric_left_sides(answer: str) -> list[str]:
    """What stands in front of the last equals sign of an answer, as far as it holds numbers alone: of "x=2+3=5" the
    "2+3". A name can equal anything."""
    sides = [side.strip() for side in _EQUALS.split(answer)[:-1]]
    return [side for side in sides if side and not _NUMERIC_PIECE.sub("", side)]


def normalise(text: str) -> str:
    """Collapse white space, drop enclosing dollar signs and a final full stop, and spell what has several spellings in
    one way. Linear in the text's length."""
    for spelling, usual in _SPELLINGS.items():
        text = text.replace(spelling, usual)
    text = _without_full_stop(" ".join(text.split()))
    if text.startswith("$"):
        inner = text.strip("$")
        if text.endswith("$") and not inner.endswith("\\"):  # "\$" at the end is a currency
            text = inner.strip()
    return _without_full_stop(text)


def _without_full_stop(text: str) -> str:
    # "\right." is a TeX delimiter, ".." the end of an ellipsis.
    return text if text.endswith(("\\right.", "..")) else text.removesuffix(".").rstrip()


def _decide_without_math_verify(gold: str, answer: str) -> str | None:
    """Return a verdict where it is certain and equals math-verify's, else None.

    Unequal decimals are left to math-verify, which compares them to six decimal places.
    """
    if gold == answer:
        return "equal"
    if not (_NUMBER.fullmatch(gold) and _NUMBER.fullmatch(answer)):
        return None
    # Exact, whatever their length.
    if Decimal(gold) == Decimal(answer):
        return "equal"
    return None if "." in gold + answer else "different"


def _gold(ground_truth: Any, data_source: str, extra_info: dict[str, Any] | None) -> str:
    is_nan = isinstance(ground_truth, float) and math.isnan(ground_truth)  # a missing cell of a parquet file
    text = str(ground_truth) if isinstance(ground_truth, str | Number) and not is_nan else ""
    boxed = last_boxed(text)
    gold = normalise(text if boxed is None else boxed)
    if not gold:
        raise ValueError(
            f"reward_model.ground_truth of data_source {data_source!r}, index {(extra_info or {}).get('index')!r}: "
            f"got {ground_truth!r}, expected a non-empty string or a number"
        )
    return gold


def _check_options(timeout_s: float, max_chars: int, workers: int, others: dict[str, Any]) -> None:
    if not isinstance(timeout_s, int | float) or not 0 < timeout_s < math.inf:
        raise ValueError(f"reward_kwargs.timeout_s: got {timeout_s!r}, expected a positive number of seconds")
    for key, value in (("max_chars", max_chars), ("workers", workers)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"reward_kwargs.{key}: got {value!r}, expected a whole number of at least 1")
    for key in others.keys() - _PASSED_BY_VERL - _warned_about:
        _warned_about.add(key)
        logger.warning("compute_score ignores %r; it knows timeout_s, max_chars and workers", key)


def _score(verdict: str, pred: str) -> Score:
    score = float(verdict == "equal")
    return Score(
        score=score,
        acc=score,
        timeout=int(verdict == "timeout"),
        unparsable=int(verdict in ("unparsable", "crashed")),
        pred=pred,
    )
