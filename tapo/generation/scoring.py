"""The run's reward outside of a run."""

import asyncio
import copy
import inspect
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tapo.files.fingerprint import fingerprint_of_file

DEFAULT_PATH = "pkg://tapo.rewards"
DEFAULT_NAME = "compute_score"
VERL = "verl"
"""As a path: what verl scores by where a run names no reward, the function for each data source."""
VERL_DEFAULT = ("pkg://verl.utils.reward_score", "default_compute_score")


class RewardFailed(RuntimeError):
    """The reward function raised; the cause is its exception."""


@dataclass(frozen=True)
class Judgement:
    """A response's score, and whatever else the reward returned."""

    score: float
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reward:
    """A reward function as a run names it.

    Attributes:
        path, name, kwargs: `reward.custom_reward_function.{path,name,reward_kwargs}`; the path `verl` is verl's own
            scoring by data source.
        correct_key: of what the function returns, the number that says whether a response is correct; None for
            `score`.
    """

    path: str = DEFAULT_PATH
    name: str = DEFAULT_NAME
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    correct_key: str | None = None

    def __str__(self) -> str:
        return "verl's own" if self.path == VERL else f"{self.path}:{self.name}"

    @property
    def fingerprint(self) -> str:
        """What decides about scores: names, arguments, and the content where it is a file."""
        text = f"{self.path}:{self.name} {dict(self.kwargs)}"
        if self.correct_key is not None:
            text += f" {self.correct_key}"
        file = Path(self.path.removeprefix("file://"))
        if file.is_file():
            text += f" {fingerprint_of_file(file)}"
        return text


class Scorer:
    """Scores responses with a function in the form of verl's `reward.custom_reward_function`.

    Args:
        reward: which one.
        threads: responses scored at once.

    Raises:
        ValueError: nothing of that name is there.
    """

    def __init__(self, reward: Reward | None = None, threads: int = 2):
        from verl.utils.import_utils import load_extern_object

        self.reward = reward or Reward()
        path, name = VERL_DEFAULT if self.reward.path == VERL else (self.reward.path, self.reward.name)
        try:
            self._function = load_extern_object(path, name)
        except (AttributeError, FileNotFoundError, ImportError) as error:
            raise ValueError(f"reward = {path}:{name} cannot work: {error}") from error
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="reward")

    @property
    def needs_truth(self) -> bool:
        """Whether a query without an answer cannot be scored; a function of one's own may need none."""
        return self.reward.path in (DEFAULT_PATH, VERL)

    async def score(self, **arguments: Any) -> float:
        """The score of one response; see `judge`."""
        return (await self.judge(**arguments)).score

    async def judge(
        self,
        *,
        data_source: str,
        response: str,
        ground_truth: Any,
        index: str,
        extra_info: Mapping[str, Any] | None = None,
    ) -> Judgement:
        """What the reward says of one response, called as verl's reward manager calls it.

        Args:
            index: the query's name in messages.
            extra_info: the row's own; the function gets a copy with what verl adds for a single turn.

        Raises:
            ValueError: the function knows no scoring for the data source, or returned no finite number.
            RewardFailed: it raised anything else.
        """
        arguments = {
            "data_source": data_source,
            "solution_str": response,
            "ground_truth": copy.deepcopy(ground_truth),
            "extra_info": {**copy.deepcopy(dict(extra_info or {})), "num_turns": 2, "rollout_reward_scores": {}},
            **self.reward.kwargs,
        }
        try:
            if inspect.iscoroutinefunction(self._function):
                result = await self._function(**arguments)
            else:
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(self._threads, lambda: self._function(**arguments))
        except NotImplementedError as error:
            raise ValueError(
                f"reward = {self.reward} cannot work for data_source = {data_source!r} ({error}): name your run's own "
                "with --reward-path and --reward-name"
            ) from error
        except Exception as error:
            if self.reward.path == DEFAULT_PATH and isinstance(error, ValueError):
                raise
            # Named and passed on: the traceback of the user's own function stays the cause.
            raise RewardFailed(f"the reward of query {index} raised {type(error).__name__}: {error}") from error
        return self._judgement(result, index)

    def _judgement(self, result: Any, index: str) -> Judgement:
        # A plain number is the accuracy too, as in verl's reward manager.
        info = dict(result) if isinstance(result, Mapping) else {"score": result, "acc": result}
        key = self.reward.correct_key or "score"
        if key not in info:
            raise ValueError(f"correct_key = {key!r} cannot work: the reward returned {', '.join(map(str, info))}")
        try:
            score = float(info[key])
        except (TypeError, ValueError) as error:
            raise ValueError(f"the reward of query {index} is {info[key]!r}: needs a number") from error
        if not math.isfinite(score):
            raise ValueError(f"the reward of query {index} is {score!r}: needs a finite number")
        return Judgement(score, info if isinstance(result, Mapping) else {})
