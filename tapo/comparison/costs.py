"""What a run has spent by each step: tokens generated and trained, and seconds, from what verl logs."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tapo.comparison.conduct import earlier_metrics
from tapo.evaluation.folders import METRICS
from tapo.evaluation.training_logs import TRAINING_STEP, logged_steps

GENERATED, TRAINED = "tapo/tokens/generated", "tapo/tokens/trained"
"""Of a step: what a program logs that knows better than what is derived from verl's metrics."""
SFT_TRAINED, SFT_GENERATED = "sft/tokens", "sft/tokens_generated"
"""What `run_scripts/baseline_sft.sh` logs at a step: of the SFT on the data up to it, not of the steps before. Its
other metrics are those of the run that generated the data, whose rollouts it has not trained."""
DISCARDED = ("filter_groups/evicted_samples", "filter_groups/discarded_surplus_samples")
"""Ends of the names under which verl counts groups that dynamic sampling generated and did not train."""


class Cost(NamedTuple):
    """Sums over the steps so far."""

    generated: float
    """Tokens: responses of the rollouts, and answers of constructions."""
    trained: float
    """Tokens: responses of the rollouts and constructed trajectories; whole chats in supervised training."""
    seconds: float
    """Of the steps themselves, without start-up and validation."""


def total(costs: Iterable[Cost]) -> Cost:
    """Their sum."""
    return Cost(*map(sum, zip(Cost(0.0, 0.0, 0.0), *costs, strict=True)))


class Costs:
    """A run's costs by step."""

    def __init__(self, folder: Path, rollouts: int | None):
        """Read the run's metrics; what an attempt logged that was killed counts until a later one repeats the step.

        Args:
            rollouts: a query; None if unknown, and groups that were discarded then have no tokens.
        """
        self.notes: list[str] = []
        steps = metrics_by_step(folder)
        self._steps = {step: cost_of(metrics, rollouts) for step, metrics in sorted(steps.items())}
        self._fill_gaps({step for step, metrics in steps.items() if TRAINING_STEP in metrics})
        self._sft = {step: metrics for step, metrics in sorted(steps.items()) if SFT_TRAINED in metrics}
        discarded = sum(_discarded(metrics) for metrics in steps.values())
        if discarded and rollouts is None:
            told = "groups were generated and discarded whose tokens are not counted: name `rollouts` in the plan"
            self.notes.append(f"{discarded:.0f} {told}")

    @property
    def hold_those_of_the_data(self) -> bool:
        """Whether the run's own metrics say what generating its data cost, as those of an SFT baseline do."""
        return bool(self._sft)

    def _fill_gaps(self, trained: set[int]) -> None:
        """A run that is killed between its checkpoint and its log goes on behind a step that nothing is known of."""
        gaps = sorted(set(range(1, max(trained, default=0))) - trained)
        if not gaps:
            return
        spent = total(self._steps[step] for step in trained)
        mean = Cost(*(part / len(trained) for part in spent))
        self._steps |= dict.fromkeys(gaps, mean)
        told = ", ".join(map(str, gaps))
        self.notes.append(f"killed before step {told} was logged, which counts as much as the others do in the mean")

    def by(self, step: int) -> Cost:
        """The sum over steps up to this one."""
        spent = total(cost for at, cost in self._steps.items() if at <= step)
        if not self._sft:
            return spent
        learned = next((self._sft[at] for at in sorted(self._sft, reverse=True) if at <= step), {})
        generated = spent.generated + learned.get(SFT_GENERATED, 0.0)
        return spent._replace(generated=generated, trained=learned.get(SFT_TRAINED, 0.0))


def metrics_by_step(folder: Path) -> dict[int, dict[str, float]]:
    """{step: metrics} of a run; of a step that was done twice, the last time's.

    An attempt that goes on from a checkpoint validates it again and logs that under its step, without the rest.
    """
    steps: dict[int, dict[str, float]] = defaultdict(dict)
    for file in [*earlier_metrics(folder), folder / METRICS]:
        for step, data in logged_steps(file) if file.exists() else ():
            steps[step] |= {key: float(value) for key, value in data.items() if _is_finite(value)}
    return steps


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def cost_of(metrics: Mapping[str, float], rollouts: int | None) -> Cost:
    """What one step took.

    verl logs the tokens of all rows, prompts included, and the mean lengths of prompts and responses, hence the rows.
    """
    response, prompt = metrics.get("response_length/mean", 0.0), metrics.get("prompt_length/mean", 0.0)
    rows = metrics.get("perf/total_num_tokens", 0.0) / (prompt + response) if prompt + response else 0.0
    discarded = _discarded(metrics) * (rollouts or 0)
    generated = (rows + discarded) * response + metrics.get("tapo/tokens/construct_generated", 0.0)
    trained = rows * response + metrics.get("tapo/tokens/construct_trained", 0.0)
    trained += metrics.get("train/global_tokens", 0.0)
    seconds = metrics.get("timing_s/step", 0.0)
    return Cost(metrics.get(GENERATED, generated), metrics.get(TRAINED, trained), seconds)


def _discarded(metrics: Mapping[str, float]) -> float:
    counts = Counter({key: value for key, value in metrics.items() if key.endswith(DISCARDED)})
    return counts.total()
