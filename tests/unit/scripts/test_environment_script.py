"""run_scripts/environment.sh, with an interpreter that only notes what it was asked."""

import os
import subprocess
from pathlib import Path

import pytest

ENVIRONMENT = Path(__file__).parents[3] / "run_scripts" / "environment.sh"

PYTHON = """#!/usr/bin/env bash
if [[ "$1 $2" == "-m venv" ]]; then
  mkdir -p "$4/bin"
  cp "$0" "$4/bin/python"
elif [[ "$1 $2" == "-m pip" ]]; then
  shift 3
  echo "pip $*" >> "$CALLS"
elif [[ "$2" == *urllib* ]]; then
  echo "index $3" >> "$CALLS"
  if [[ "$INDEX" == hangs ]]; then exec sleep 60; fi
  echo "a traceback" >&2
  [[ "$INDEX" == answers ]]
elif [[ "$*" == *"import torch"* ]]; then
  echo "which torch" >> "$CALLS"
fi
"""


@pytest.fixture
def source(tmp_path):
    """Sources the script; returns (its output, the calls since the last time)."""
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    calls = tmp_path / "calls"

    def call(**variables):
        calls.write_text("")
        environment = {"PATH": os.environ["PATH"], "PYTHON": str(python), "TAPO_VENV": str(tmp_path / "venv")}
        environment |= {"CALLS": str(calls), "INDEX": "is silent", **variables}
        command = ["bash", "-c", f"source {ENVIRONMENT} && which python"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr, calls.read_text().splitlines()

    return call


def torch_call(calls):
    return next(call for call in calls if "torch==" in call)


def test_torch_comes_from_pytorchs_cpu_index_where_it_answers(source):
    output, calls = source(INDEX="answers")
    assert calls[1] == "index https://download.pytorch.org/whl/cpu/torch/"
    assert torch_call(calls) == (
        "pip --quiet --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0"
    )
    assert [call for call in calls if "index-url" in call] == [torch_call(calls)]
    assert output.endswith("/venv/bin/python\n")


def test_without_an_answer_pips_own_indexes_serve_and_nothing_is_said_of_it(source):
    output, calls = source(INDEX="is silent")
    assert torch_call(calls) == "pip --quiet --disable-pip-version-check torch==2.13.0"
    assert "traceback" not in output


@pytest.mark.e2e  # the seconds that it waits for
def test_an_index_that_hangs_is_given_up_after_seconds(source, tmp_path):
    started = os.times().elapsed
    _, calls = source(INDEX="hangs", TORCH_CPU_INDEX="http://localhost:9/cpu")
    assert "index http://localhost:9/cpu/torch/" in calls
    assert "index-url" not in torch_call(calls)
    assert os.times().elapsed - started < 15


def test_the_build_that_was_taken_is_said_right_after_it_was_installed(source):
    _, calls = source()
    assert calls[calls.index(torch_call(calls)) + 1] == "which torch"


def test_an_environment_is_made_once_and_again_for_another_verl(source):
    assert len(source()[1]) == 6
    assert source()[1] == []
    _, calls = source(VERL="git+https://example.org/verl@main")
    assert calls[-1].endswith("--no-deps --force-reinstall git+https://example.org/verl@main")
    assert source(VERL="git+https://example.org/verl@main")[1] == []
    assert len(source()[1]) == 6
