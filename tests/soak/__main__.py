"""The soak: a run under faults, unbroken, and the same run killed and gone on with.

    python -m tests.soak --mode sync --steps 100 --kills 5 --out FOLDER

trains twice as many steps as it says, prints what struck and what was wrong, and ends with status 1 where anything was.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.e2e.harness import COMMON, ENVIRONMENT, EXAMPLE
from tests.soak.invariants import (
    faults_of,
    growth,
    steps_of,
    wrong_dump,
    wrong_order,
    wrong_rewards,
    wrong_steps,
)
from tests.soak.run import SoakRun


def make_data(folder: Path) -> Path:
    sizes = ["--train", "96", "--test", "32", "--sampled", "8", "--seeded", "8"]
    subprocess.run([sys.executable, COMMON / "make_data.py", EXAMPLE, folder, *sizes], check=True, env=ENVIRONMENT)
    return folder


def soak(folder: Path, mode: str, steps: int, kills: int, seed: int) -> tuple[SoakRun, SoakRun, list[str]]:
    """Both runs, and what is wrong with them."""
    data = make_data(folder / "data")
    unbroken, broken = (SoakRun(folder / name, data, mode, steps, seed) for name in ("unbroken", "broken"))
    for run in (unbroken, broken):
        run.folder.mkdir()
    unbroken.to_the_end()
    broken.with_kills(kills)
    wrong = [*unbroken.wrong, *broken.wrong]
    for run in (unbroken, broken):
        trained = steps_of(run.folder)
        wrong += [*wrong_steps(trained), *wrong_rewards(run.folder)]
        if missing := set(range(1, steps + 1)) - {step["step"] for step in trained}:
            wrong.append(f"steps {sorted(missing)} were not trained")
    wrong += wrong_dump(unbroken.folder, steps_of(unbroken.folder))
    if mode == "sync":
        wrong += wrong_order(steps_of(broken.folder), steps_of(unbroken.folder))
    return unbroken, broken, wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--mode", choices=["sync", "colocate_async"], default="sync")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    unbroken, broken, wrong = soak(given.out.resolve(), given.mode, given.steps, given.kills, given.seed)
    console = Console()
    trained = [*steps_of(unbroken.folder), *steps_of(broken.folder)]
    attempted = sum(step["metrics"]["tapo/construct/attempted"] for step in trained)
    constructed = sum(row["constructed"] for step in trained for row in step["rows"])
    console.print(f"{given.mode}: {len(trained)} steps, {attempted:.0f} constructions, of which {constructed} trained")
    table = Table("struck", "times")
    struck = faults_of(unbroken.folder) + faults_of(broken.folder)
    for name, number in {**struck, **{f"{n} killed": k for n, k in (unbroken.kills + broken.kills).items()}}.items():
        table.add_row(name, str(number))
    console.print(table)
    table = Table("unbroken run, last quarter against the second", "MiB more", "open files more")
    for kind, (memory, files) in sorted(growth(unbroken.samples).items()):
        table.add_row(kind, f"{memory:+.0f}", f"{files:+.0f}")
    console.print(table)
    console.print(f"wrong: {len(wrong)}")
    for what in wrong:
        console.print("  " + what, markup=False)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
