"""Seconds a step of TAPO over GRPO beside the ratio of tokens, from two runs that differ in nothing else.

python benchmarks/step.py outputs/quickstart/tapo outputs/quickstart/grpo
"""

import statistics
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tapo.inspection.summary import read_metrics

WARM_UP_STEPS = 2
"""Left out: the first steps of a run compile and fill caches."""


def tokens(step):
    """(generated, trained) of a step; prompts excluded from neither run's trained ones are left out of both."""
    rollouts = step["response_length/mean"] * step["rows"]
    return (
        rollouts + step.get("tapo/tokens/construct_generated", 0),
        rollouts + step.get("tapo/tokens/construct_trained", 0),
    )


def main(tapo: str, grpo: str, rows: str = "256"):
    results = {}
    for name, folder in (("tapo", tapo), ("grpo", grpo)):
        steps = [step | {"rows": int(rows)} for step in read_metrics(Path(folder))][WARM_UP_STEPS:]
        generated, trained = zip(*map(tokens, steps), strict=True)
        seconds = {part: [step[f"timing_s/{part}"] for step in steps] for part in ("step", "gen", "update_actor")}
        results[name] = {f"seconds, {part}": statistics.median(values) for part, values in seconds.items()}
        results[name] |= {"tokens generated": statistics.mean(generated), "tokens trained": statistics.mean(trained)}
    table = Table("a step", "tapo", "grpo", "ratio", title=f"medians of steps {WARM_UP_STEPS + 1} to the last")
    for key, value in results["tapo"].items():
        table.add_row(key, f"{value:.1f}", f"{results['grpo'][key]:.1f}", f"{value / results['grpo'][key]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
