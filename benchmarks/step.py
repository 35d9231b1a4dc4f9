"""Seconds a step of TAPO over GRPO beside the ratio of tokens, from two runs that differ in nothing else.

python benchmarks/step.py outputs/quickstart/tapo outputs/quickstart/grpo
"""

import statistics
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tapo.evaluation.training_logs import read_training_logs

WARM_UP_STEPS = 2
"""Left out: the first steps of a run compile and fill caches."""


def tokens(log, rows):
    """(generated, trained) of the mean step; prompts excluded from neither run's trained ones are left out of both."""

    def mean(key):
        return statistics.mean(log.series(key)[1][WARM_UP_STEPS:]) if key in log.metrics else 0

    rollouts = mean("response_length/mean") * rows
    return rollouts + mean("tapo/tokens/construct_generated"), rollouts + mean("tapo/tokens/construct_trained")


def main(tapo: str, grpo: str, rows: str = "256"):
    results = {}
    for name, log in zip(("tapo", "grpo"), read_training_logs([Path(tapo), Path(grpo)]), strict=True):
        generated, trained = tokens(log, int(rows))
        results[name] = {
            f"seconds, {part}": statistics.median(log.series(f"timing_s/{part}")[1][WARM_UP_STEPS:])
            for part in ("step", "gen", "update_actor")
        } | {"tokens generated": generated, "tokens trained": trained}
    table = Table("a step", "tapo", "grpo", "ratio", title=f"medians of steps {WARM_UP_STEPS + 1} to the last")
    for key, value in results["tapo"].items():
        table.add_row(key, f"{value:.1f}", f"{results['grpo'][key]:.1f}", f"{value / results['grpo'][key]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
