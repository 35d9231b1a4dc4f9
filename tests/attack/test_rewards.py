"""The verifier: answers that want a reward they did not earn, and children that are killed."""

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil

from tapo.rewards import compute_score, verifier_pool
from tapo.rewards.verifier_pool import VerifierPool
from tests.attack.texts import CODE, CONTROL, NUMBERS, TOWERS

GOLD = "8257"
"""No hostile text holds it."""
WRAPS = [
    "{}", r"\text{{{}}}", r"\frac{{{}}}{{1}}", r"x={}", r"{}=8257=1", r"8256={}", r"\{{{}\}}",
    r"({},8257)", r"8257 or {}", r"\sqrt{{{}}}", "{}%", r"\boxed{{{}}}", r"$ {} $", r"\left( {} \right)", r"{}^{{{}}}",
    r"\begin{{pmatrix}}{}\end{{pmatrix}}",
]  # fmt: skip


def hostile(draw):
    if draw.random() < 0.01:  # each costs its time-out and a child
        return draw.choice(TOWERS)
    answer = draw.choice([*CODE, *CONTROL, *NUMBERS, "8256", "8257.5", "-8257", "8,2,5,7", "825", "57", r"\infty", "?"])
    for _ in range(draw.randrange(3)):
        answer = draw.choice(WRAPS).replace("{}", answer).replace("{{", "{").replace("}}", "}")
    return answer


def test_reward_hacks(tally):
    """Answers that are not the ground truth, scored."""
    draw = random.Random(0)
    answers = [hostile(draw) for _ in range(6_000)]

    def score(answer):
        return compute_score("attack", f"Hence \\boxed{{{answer}}}.", GOLD, timeout_s=1.0, workers=2)

    with ThreadPoolExecutor(4) as threads:
        for answer, result in zip(answers, threads.map(score, answers), strict=True):
            with tally.input():
                pass
            if result["score"] != 0.0:
                tally.wrong.append((answer, result))
    verifier_pool.close_shared_pools()


def children():
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            found += [child] if "verifier_child" in " ".join(child.cmdline()) else []
    return found


def test_kills_of_verifiers(tally):
    """Calls of the verifier while its children are killed at random, until forty were."""
    pool, draw, over = VerifierPool(2), random.Random(1), threading.Event()
    kills = 0

    def kill():
        nonlocal kills
        while not over.is_set():
            time.sleep(draw.random() * 2.0)
            for child in children():
                if draw.random() < 0.5:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child.pid, signal.SIGKILL)
                        kills += 1

    def ask(number):
        with tally.input():
            same = number % 2 == 0
            verdict = pool.verify(f"{number}/7", f"\\frac{{{number}}}{{{7 if same else 8}}}", 30.0)
        if verdict != ("equal" if same else "different"):
            tally.wrong.append((number, verdict))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        with ThreadPoolExecutor(4) as threads:
            numbers = itertools.count(1)
            while kills < 40:
                list(threads.map(ask, itertools.islice(numbers, 500)))
    finally:
        over.set()
        killer.join()
        pool.close()
    time.sleep(0.5)
    tally.leaks += children()
