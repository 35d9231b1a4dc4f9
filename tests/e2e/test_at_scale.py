"""The benchmark at scale, at a small size: real workers, trainer and TransferQueue over the simulated engine."""

import json
import subprocess
import sys

import pytest

from tests.e2e.harness import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow

SIZE = ["--queries", "8", "--workers", "2", "--devices", "2", "--response-length", "512"]


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """{setting: what its step took}."""
    out = tmp_path_factory.mktemp("at_scale") / "steps.jsonl"
    command = [sys.executable, "-m", "benchmarks.at_scale", *SIZE, "--out", out, "--deadline", "1"]
    command += ["--settings", "verbatim+guided,anchored+own,verbatim+guided+deadline"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return {step["setting"]: step for step in map(json.loads, out.read_text().splitlines())}


def test_every_setting_serves_the_same_rollouts(steps):
    assert {step["engine"]["requests"]["rollouts"] for step in steps.values()} == {64}
    assert len({step["engine"]["decoded"]["rollouts"] for step in steps.values()}) == 1
    assert len({step["metrics"]["critic/score/mean"] for step in steps.values()}) == 1
    assert steps["grpo"]["engine"]["requests"] == {"rollouts": 64}


def test_constructions_are_trained_and_take_simulated_time(steps):
    metrics, engine = steps["verbatim+guided"]["metrics"], steps["verbatim+guided"]["engine"]
    assert metrics["tapo/construct/trained"] > 0
    assert engine["requests"]["constructions"] == metrics["tapo/construct/attempted"]
    assert engine["decoded"]["constructions"] == metrics["tapo/tokens/construct_generated"]
    assert steps["grpo"]["simulated_s"] < steps["verbatim+guided"]["simulated_s"] < 60
    assert min(steps["grpo"]["cpu_s"]["workers"], steps["grpo"]["cpu_s"]["trainer"]) > 0


def test_an_anchored_form_decodes_less(steps):
    decoded = {name: step["engine"]["decoded"].get("constructions", 0) for name, step in steps.items()}
    assert 0 < decoded["anchored+own"] < decoded["verbatim+guided"]
    assert steps["anchored+own"]["metrics"]["tapo/construct/trained"] > 0


def test_a_deadline_counts_simulated_seconds(steps):
    given_up = {name: step["metrics"]["tapo/construct/rejected/deadline"] for name, step in steps.items()}
    assert given_up["verbatim+guided+deadline"] > 0 == given_up["verbatim+guided"]
    tails = {
        name: step["engine"]["constructions_end"] - step["engine"]["rollouts_end"]
        for name, step in steps.items()
        if name != "grpo"
    }
    assert tails["verbatim+guided+deadline"] < tails["verbatim+guided"]
