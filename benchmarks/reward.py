r"""How fast the reward is: answers a second on its fast path, through math-verify, and for hostile answers.

    python benchmarks/reward.py [--answers 300] [--threads 4] [--workers 2] [--timeout-s 1.0]

Prints one table. "times" is the cost of one answer relative to the fast path. The processes are started before the
clock is. Hostile answers are few, since most of them take the whole time-out.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

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


def measure(make, answers: int, options: argparse.Namespace) -> tuple[float, list[dict]]:
    """Return seconds of wall time and the scores of ``answers`` answers."""

    def score(n: int) -> dict:
        answer, truth = make(n)
        response = f"{REASONING}\\boxed{{{answer}}}"
        return compute_score("bench", response, truth, timeout_s=options.timeout_s, workers=options.workers)

    with ThreadPoolExecutor(options.threads) as threads:
        started = time.perf_counter()
        scores = list(threads.map(score, range(1, answers + 1)))
        return time.perf_counter() - started, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=300)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout-s", type=float, default=1.0)
    options = parser.parse_args()

    measure(fraction, 4 * options.workers, options)  # starts the processes
    rows = [
        ("fast path (integers)", fast, 10 * options.answers),
        ("math-verify (fractions)", fraction, options.answers),
        ("math-verify (polynomials)", symbolic, options.answers),
        ("hostile", hostile, 8),
    ]
    print(f"{'path':<27}{'answers':>9}{'answers/s':>12}{'times':>9}{'right':>8}{'timeout':>9}{'unparsable':>12}")
    base = None
    for name, make, answers in rows:
        seconds, scores = measure(make, answers, options)
        each = seconds / answers
        base = base or each
        sums = [sum(score[key] for score in scores) for key in ("score", "timeout", "unparsable")]
        print(
            f"{name:<27}{answers:>9}{1 / each:>12.1f}{each / base:>9.0f}{sums[0]:>8.0f}{sums[1]:>9}{sums[2]:>12}",
            flush=True,
        )


if __name__ == "__main__":
    main()
