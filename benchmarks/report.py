"""Seconds and peak memory of `tapo eval report`: 30 problems x 64 samples, and a million rows.

    python benchmarks/report.py [--rows 1000000] [--problems 62500] [--characters 300]

Each report runs in a process of its own, on a dump written beforehand. Seconds exclude the imports, peak memory is of
the whole process.
"""

import json
import random
import tempfile
import time
from pathlib import Path

import typer
from measure import measure_once

SENTENCE = "We substitute and simplify, so that the right side follows from the left one. "
REFLECTIONS = ("", "", "", "Wait, 7*8 is not 54. ", "Hmm, that can't be right. ")


def write_dump(file: Path, problems: int, samples: int, characters: int, rng: random.Random) -> None:
    filling = SENTENCE * (characters // len(SENTENCE))
    with file.open("w") as lines:
        for problem in range(problems):
            rate = rng.random()
            for sample in range(samples):
                acc = float(rng.random() < rate)
                answer = str(problem if acc else rng.randrange(5))
                row = {"input": f"Problem {problem}: what is {problem}?", "gts": str(problem), "score": acc, "step": 0}
                row["output"] = f"{filling}{rng.choice(REFLECTIONS)}\\boxed{{{answer}}}"
                row |= {"acc": acc, "unparsable": 0, "pred": answer, "uid": f"{problem:08d}-ab_{sample}_0"}
                lines.write(json.dumps(row) + "\n")


def report(folder: Path) -> dict[str, float]:
    """Only the report itself is timed, not the imports."""
    from tapo.evaluation.report import build_report

    started, worked = time.perf_counter(), time.process_time()
    build_report([folder])
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - worked}


def measure(problems: int, samples: int, characters: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        folder.mkdir()
        write_dump(folder / "0.jsonl", problems, samples, characters, random.Random(0))
        mib = (folder / "0.jsonl").stat().st_size / 1024**2
        cost = measure_once(report, folder)
    figures = f"{cost['seconds']:>10.2f}{cost['cpu']:>13.2f}{cost['peak'] / 1024:>11.2f}"
    print(f"{problems * samples:>10}{problems:>10}{samples:>9}{mib:>10.1f}{figures}", flush=True)


def main(rows: int = 1_000_000, problems: int = 62_500, characters: int = 300) -> None:
    print(f"{'rows':>10}{'problems':>10}{'samples':>9}{'MiB':>10}{'seconds':>10}{'CPU seconds':>13}{'peak GiB':>11}")
    measure(30, 64, 20 * characters)
    measure(problems, rows // problems, characters)


if __name__ == "__main__":
    typer.run(main)
