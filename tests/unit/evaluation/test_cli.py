import io
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tapo import cli
from tapo.core.phrases import load_detector
from tapo.evaluation.detector_agreement import highlighted, print_sample
from tapo.evaluation.options import ReflectionsCommand

OUTPUTS = ["\\boxed{1}", "2\nWait, no.\n\\boxed{1}", "Hmm, \\boxed{2}", "\\boxed{3}"]


@pytest.fixture
def run(tmp_path):
    rows = [{"input": "p", "output": output, "gts": "1", "score": 1.0} for output in OUTPUTS]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "0.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return tmp_path / "run"


def invoke(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, list(map(str, arguments)))


def test_a_report_is_printed_and_written(run, tmp_path):
    result = invoke("eval", "report", run, "--out", tmp_path / "report", "--resamples", 100)
    assert result.exit_code == 0
    assert "mean accuracy" in result.output and "Note: run: no manifest" in result.output
    assert (tmp_path / "report" / "report.json").exists()


def test_the_threshold_of_a_reward_goes_by_its_old_name_too(run, tmp_path):
    for flag in ("--reward-threshold", "--threshold"):
        assert invoke("eval", "report", run, "--out", tmp_path / flag, flag, 1.5, "--resamples", 100).exit_code == 0
        report = json.loads((tmp_path / flag / "report.json").read_text())
        assert report["manifest"]["correct_above"] == 1.5
        assert report["runs"]["run"]["validation"]["0"]["figures"]["accuracy"]["value"] == 0


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("eval", "reflections", "--limit", 0), "--limit = 0 cannot work: needs an integer >= 1"),
        (
            ("eval", "report", "x", "--resamples", 10**11),
            "--resamples = 100000000000 cannot work: needs an integer from 100 to 1,000,000",
        ),
        (
            ("eval", "report", "x", "--threshold", "nan"),
            "--reward-threshold = nan cannot work: needs a value of type float",
        ),
        (
            ("eval", "report", "x", "--resamples", 5),
            "--resamples = 5 cannot work: needs an integer from 100 to 1,000,000",
        ),
        (("plot", "x", "--out", "y", "--smooth", 0), "--smooth = 0 cannot work: needs an integer >= 1"),
        (
            ("eval", "run", "m", "--data", "x", "--out", "y", "--gpus", 0),
            "--gpus = 0 cannot work: needs an integer >= 1",
        ),
    ],
)
def test_options_out_of_range_are_named_as_the_command_line_does(command, sentence):
    assert str(invoke(*command).exception) == sentence


def test_a_summary_is_printed(run):
    result = invoke("summary", run)
    assert result.exit_code == 0 and "mean accuracy [95 % interval]" in result.output


def test_constructions_shows_the_agreement_and_on_wish_the_disagreements(tmp_path):
    output = invoke("eval", "constructions").output
    assert output.count("| good |") == 2 and output.count("| leak |") == 4 and "told" not in output.split("|")[-1]
    answers = "answers: [{label: good, then: ' Yes.'}]"
    own = f"[{{id: a, language: en, kind: k, held_out: true, wrong: '1+1=3, so 3.', {answers}}}]"
    (tmp_path / "own.yaml").write_text(own)
    output = invoke("eval", "constructions", "--labelled", tmp_path / "own.yaml", "--disagreements").output
    assert "| good | 1 | - | 0.00 | 1 no_reflection |" in output and "a-0: good, told no_reflection" in output


def test_reflections_shows_matches_and_the_agreement(run):
    result = invoke("eval", "reflections", run, "--limit", 10)
    assert result.exit_code == 0
    assert "2 of 4 responses reflect" in result.output
    assert "0.jsonl, line 2" in result.output and "0.jsonl, line 4" not in result.output
    assert "Cohen's kappa" in result.output and "missed: " in result.output


def test_the_sample_is_seeded_limited_and_of_the_kind_asked_for(run):
    def shown(**options):
        console = Console(file=io.StringIO(), width=120)
        print_sample(run / "0.jsonl", ReflectionsCommand(**options), load_detector(), console)
        return [line.strip(" ─") for line in console.file.getvalue().splitlines() if "jsonl" in line]

    assert shown(unmatched=True) == ["0.jsonl, line 1", "0.jsonl, line 4"]
    assert shown(limit=1) == shown(limit=1) and len(shown(limit=1)) == 1
    assert {line for seed in range(9) for line in shown(limit=1, seed=seed)} == {"0.jsonl, line 2", "0.jsonl, line 3"}


def test_a_terminal_obeys_nothing_that_a_response_says(tmp_path):
    hostile = "2+2=5. \x1b]0;owned\x07\x1b[2J\nWait, no. \x9b31m \\boxed{4}"
    (tmp_path / "0.jsonl").write_text(json.dumps({"output": hostile}) + "\n")
    console = Console(file=io.StringIO(), width=120)
    print_sample(tmp_path / "0.jsonl", ReflectionsCommand(), load_detector(), console)
    shown = console.file.getvalue()
    assert "Wait, no" in shown and "]0;owned" in shown
    assert not [character for character in shown if unicodedata.category(character) == "Cc" and character != "\n"]


def test_a_long_response_is_shown_around_its_matches():
    text = "a" * 500 + ". Wait, no. " + "b" * 500
    shown = highlighted(text, load_detector().find(text)).plain
    assert shown.startswith("... a") and shown.endswith("b ...") and "Wait, no" in shown and len(shown) < 360


def test_a_dry_run_prints_the_command_and_writes_nothing(tmp_path):
    import pandas as pd

    data = tmp_path / "aime24.parquet"
    pd.DataFrame({"data_source": ["s"], "prompt": ["p"], "reward_model": ["r"]}).to_parquet(data)
    out = tmp_path / "out"
    result = invoke(
        "eval", "run", "Qwen/Qwen3-8B", "--data", data, "--out", out, "--dry-run", "--", "+tapo=cpu", "a.b=1"
    )
    assert result.exit_code == 0, result.output
    assert " -m verl.trainer.main_ppo actor_rollout_ref.model.path=Qwen/Qwen3-8B " in result.output
    assert result.output.endswith(" +tapo=cpu a.b=1\n") and not out.exists()


def test_a_value_error_reaches_the_user_as_one_sentence_and_status_1(tmp_path):
    command = [sys.executable, "-m", "tapo.cli", "eval", "report", str(tmp_path / "none")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("tapo: DIR = ") and result.stderr.count("\n") == 1


def test_other_errors_keep_their_traceback(monkeypatch):
    def broken():
        raise RuntimeError("ours")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(RuntimeError, match="ours"):
        cli.main()


def test_help_loads_no_heavy_library():
    heavy = "{'matplotlib', 'pandas', 'pyarrow', 'torch', 'transformers', 'verl', 'vllm'}"
    code = f"import sys, tapo.cli; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


def test_the_script_evaluates_and_then_reports(tmp_path):
    tapo = tmp_path / "tapo"
    tapo.write_text('#!/bin/sh\necho "$@"\n')
    tapo.chmod(0o755)
    script = Path(__file__).parents[3] / "run_scripts" / "evaluate.sh"
    command = ["bash", str(script), "a.parquet", "b=b.parquet", "--samples", "4", "--", "+tapo=cpu"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MODEL": "m", "OUT": "o"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.splitlines() == [
        "eval run m --data a.parquet --data b=b.parquet --out o --samples 4 -- +tapo=cpu",
        "eval report o --out o/report",
    ]
