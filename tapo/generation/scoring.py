"""The run's reward outside of a run."""

import asyncio
import copy
import functools
import inspect
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from tapo.data.options import CorrectOptions
from tapo.files.fingerprint import fingerprint_of_file
from tapo.options import KeyValues

DEFAULT_PATH = "pkg://tapo.rewards"
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


class RewardOptions(CorrectOptions):
    """The run's reward."""

    panel = "Reward"

    reward_path: str = DEFAULT_PATH
    """reward.custom_reward_function.path of the run; `verl` for verl's own scoring by data source, which is what a run
    without one has."""
    reward_name: str = "compute_score"
    """reward.custom_reward_function.name of the run."""
    reward_kwarg: KeyValues = Field(default_factory=dict)
    """KEY=VALUE for the reward function; repeatable."""
    correct_key: str | None = None
    """Of what the reward returns, the number that says whether a response is correct (acc, ...)."""

    @property
    def reward(self) -> str:
        """Its name in messages."""
        return "verl's own" if self.reward_path == VERL else f"{self.reward_path}:{self.reward_name}"

    @property
    def reward_fingerprint(self) -> str:
        """What decides about scores: names, arguments, and the content where it is a file."""
        facts = [f"{self.reward_path}:{self.reward_name}", self.reward_kwarg]
        if self.correct_key is not None:
            facts.append(self.correct_key)
        file = Path(self.reward_path.removeprefix("file://"))
        if file.is_file():
            facts.append(fingerprint_of_file(file))
        return " ".join(map(str, facts))


class Scorer:
    """Scores responses with a function in the form of verl's `reward.custom_reward_function`.

    Args:
        options: say which one; ValueError if nothing of that name is there.
        threads: responses scored at once.
    """

    def __init__(self, options: RewardOptions | None = None, threads: int = 2):
        from verl.utils.import_utils import load_extern_object

        self._options = chosen = options or RewardOptions()
        path, name = VERL_DEFAULT if chosen.reward_path == VERL else (chosen.reward_path, chosen.reward_name)
        try:
            self._function = load_extern_object(path, name)
        except (AttributeError, FileNotFoundError, ImportError) as error:
            raise ValueError(f"reward = {path}:{name} cannot work: {error}") from error
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="reward")

    @property
    def needs_truth(self) -> bool:
        """Whether a query without an answer cannot be scored; a function of one's own may need none."""
        return self._options.reward_path in (DEFAULT_PATH, VERL)

    async def score(self, **arguments: Any) -> float:
        """The score of one response; see `judge`."""
        return (await self.judge(**arguments)).score

    async def judge(
        self, *, data_source: str, response: str, ground_truth: Any, index: str, extra_info: Mapping[str, Any]
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
            "extra_info": {**copy.deepcopy(dict(extra_info)), "num_turns": 2, "rollout_reward_scores": {}},
            **self._options.reward_kwarg,
        }
        try:
            if inspect.iscoroutinefunction(self._function):
                result = await self._function(**arguments)
            else:
                function = functools.partial(self._function, **arguments)
                result = await asyncio.get_running_loop().run_in_executor(self._threads, function)
        except NotImplementedError as error:
            raise ValueError(
                f"reward = {self._options.reward} cannot work for data_source = {data_source!r} ({error}): name your "
                "run's own with --reward-path and --reward-name"
            ) from error
        except Exception as error:
            if self._options.reward_path == DEFAULT_PATH and isinstance(error, ValueError):
                raise
            # Named and passed on: the traceback of the user's own function stays the cause.
            raise RewardFailed(f"the reward of query {index} raised {type(error).__name__}: {error}") from error
        return self._judgement(result, index)

    def _judgement(self, result: Any, index: str) -> Judgement:
        # A plain number is the accuracy too, as in verl's reward manager.
        info = dict(result) if isinstance(result, Mapping) else {"score": result, "acc": result}
        key = self._options.correct_key or "score"
        if key not in info:
            raise ValueError(f"correct_key = {key!r} cannot work: the reward returned {', '.join(map(str, info))}")
        try:
            score = float(info[key])
        except (TypeError, ValueError) as error:
            raise ValueError(f"the reward of query {index} is {info[key]!r}: needs a number") from error
        if not math.isfinite(score):
            raise ValueError(f"the reward of query {index} is {score!r}: needs a finite number")
        return Judgement(score, info if isinstance(result, Mapping) else {})
