r"""How fast the reward is: answers a second on its fast path, through math-verify, and for hostile answers.

    python benchmarks/reward.py [--answers 300] [--threads 4] [--workers 2] [--timeout-s 1.0]

Prints one table. "times" is the cost of one answer relative to the fast path. The processes are started before the
clock is. Hostile answers are few, since most of them take the whole time-out.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import typer

from tapo.rewards import compute_score

REASONING = "We substitute and simplify, so that the claim follows by induction on n. " * 100


def fast(n: int) -> tuple[str, str]:
    return str(n), str(n + n % 2)


def fraction(n: int) -> tuple[str, str]:
    return rf"\frac{{{n}}}{{{2 * n}}}", "0.5"


def symbolic(n: int) -> tuple[str, str]:
    return rf"(x+{n})^2", rf"x^2+{2 * n}x+{n * n}"


def hostile(n: int) -> tuple[str, str]:
    return ("9^{9^{9^{9}}}", "100000!!", "{" * 400 + "1" + "}" * 400, "9" * 100_000 + "+1")[n % 4], "82"


def measure(make, answers: int, threads: int, **verifier) -> tuple[float, list[dict]]:
    """Return seconds of wall time and the scores of ``answers`` answers."""

    def score(n: int) -> dict:
        answer, truth = make(n)
        response = f"{REASONING}\\boxed{{{answer}}}"
        return compute_score("bench", response, truth, **verifier)

    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        scores = list(pool.map(score, range(1, answers + 1)))
        return time.perf_counter() - started, scores


def main(answers: int = 300, threads: int = 4, workers: int = 2, timeout_s: float = 1.0) -> None:
    verifier = {"timeout_s": timeout_s, "workers": workers}
    measure(fraction, 4 * workers, threads, **verifier)  # starts the processes
    rows = [
        ("fast path (integers)", fast, 10 * answers),
        ("math-verify (fractions)", fraction, answers),
        ("math-verify (polynomials)", symbolic, answers),
        ("hostile", hostile, 8),
    ]
    print(f"{'path':<27}{'answers':>9}{'answers/s':>12}{'times':>9}{'correct':>9}{'timeout':>9}{'unparsable':>12}")
    base = None
    for name, make, number in rows:
        seconds, scores = measure(make, number, threads, **verifier)
        each = seconds / number
        base = base or each
        sums = [sum(score[key] for score in scores) for key in ("score", "timeout", "unparsable")]
        print(
            f"{name:<27}{number:>9}{1 / each:>12.1f}{each / base:>9.0f}{sums[0]:>9.0f}{sums[1]:>9}{sums[2]:>12}",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
