"""`tapo eval` on a real checkpoint through verl's own validation."""

import json
import subprocess
import sys

import pytest

from tests.e2e.harness import ENVIRONMENT, MODEL


def tapo(*arguments, cwd):
    command = [sys.executable, "-m", "tapo.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def test_a_checkpoint_is_evaluated_with_exact_lengths_and_reported(tmp_path, data):
    out = tmp_path / "eval"
    limits = ["--samples", "4", "--max-prompt-length", "96", "--max-response-length", "192"]
    data_option = ["--data", f"arithmetic={data}/test.parquet"]
    tapo("eval", "run", MODEL, *data_option, "--out", out, *limits, "--", "+tapo=cpu", cwd=tmp_path)
    [dump] = (out / "arithmetic").glob("*.jsonl")
    rows = [json.loads(line) for line in dump.read_text().splitlines()]
    assert len(rows) == 32 * 4
    assert {"acc", "pred", "response_tokens", "truncated"} <= rows[0].keys()
    tapo("eval", "report", out, "--out", tmp_path / "report", cwd=tmp_path)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    [figures] = report["runs"]["eval"]["arithmetic"].values()
    assert (figures["problems"], figures["samples"], figures["length_unit"]) == (32, 128, "tokens")
    figures = {name: figure["value"] for name, figure in figures["figures"].items()}
    assert figures["accuracy"] == pytest.approx(sum(row["acc"] for row in rows) / len(rows))
    assert figures["length"] == pytest.approx(sum(row["response_tokens"] for row in rows) / len(rows))
    assert figures["truncated"] == pytest.approx(sum(row["truncated"] for row in rows) / len(rows))
    assert json.loads((out / "manifest.json").read_text())["sampling"]["n"] == 4
