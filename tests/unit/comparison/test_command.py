"""Plans carried out for real, with a stand-in for the program that trains."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from tapo.comparison import conduct, render
from tapo.comparison.command import ComparisonIncomplete, compare
from tapo.comparison.options import CompareCommand

TRAIN = str(Path(__file__).parents[2] / "stand_ins" / "training.py")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(conduct, "POLL_S", 0.02)


def write_plan(tmp_path, **changes):
    runs = {
        "plain": {"overrides": ["plain", "{seed}", "{steps}"], "steps": 8},
        "better": {"overrides": ["better", "{seed}", "{steps}"]},
    }
    plan = {
        "statement": "The better one learns faster than the plain one.",
        "out": str(tmp_path / "out"),
        "seeds": [1, 2, 3],
        "against": "plain",
        "steps": 4,
        "command": f"python {TRAIN} {{out}}",
        "each": {"cores": 1, "memory_gib": 0.0},
        "at_once": 2,
        "resamples": 200,
        "runs": runs,
    } | changes
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return path


def carry_out(path, **options):
    console = Console(file=io.StringIO(), width=250)
    try:
        compare(CompareCommand(plan=path, **options), console)
    finally:
        text = console.file.getvalue()
    return text


def report_of(tmp_path):
    return json.loads((tmp_path / "out" / "report" / "report.json").read_text())


def sections(tmp_path):
    """The report but for what must differ: when it was stated, and where the dumps lie."""
    return [report_of(tmp_path)["sections"], report_of(tmp_path)["sentences"][:3]]


def test_two_runs_of_three_seeds_become_a_table_of_known_figures(tmp_path):
    text = carry_out(write_plan(tmp_path))
    assert "6 runs, 2 at once (as the plan says)" in text
    (section,) = report_of(tmp_path)["sections"]
    plain, better = section["runs"]["plain"], section["runs"]["better"]
    # 96 samples a seed, of which those whose place lies below the share are correct.
    shares = {1: 1 / 3 + 0.25 - 0.02, 2: 1 / 3 + 0.25, 3: 1 / 3 + 0.25 + 0.02}
    exact = {str(seed): -(-96 * share // 1) / 96 for seed, share in shares.items()}
    assert plain["step"] == better["step"] == 4
    assert plain["figures"]["accuracy"]["by_seed"] == pytest.approx(exact)
    assert plain["figures"]["accuracy"]["estimate"]["value"] == pytest.approx(sum(exact.values()) / 3)
    difference = better["at_equal_steps"]["differences"]["accuracy"]
    assert difference["estimate"]["value"] == pytest.approx(0.25)
    assert difference["estimate"]["low"] > 0
    assert plain["figures"]["needless_reflection"]["estimate"]["value"] == pytest.approx(4 / 96)
    assert sum(sum(kind.values()) for kind in plain["counts"].values()) == 3 * 96
    assert (
        plain["length_unit"] == "characters"
        and "plain/seed-1/validation/0.jsonl" in report_of(tmp_path)["manifest"]["dumps"]
    )
    assert "Beyond noise ahead of plain, at equal steps and at equal tokens: better." in text
    written = (tmp_path / "out" / "report" / "report.md").read_text()
    statement = "The better one learns faster than the plain one."
    assert written.startswith(f"# Comparison\n\n{statement}\n\nbetter against plain, mean accuracy at step 4: +25.0 [")
    assert "before any of its runs was complete" in written
    assert (tmp_path / "out" / "report" / "accuracy.png").stat().st_size > 0


def test_at_equal_tokens_the_longer_run_is_read_between_its_validations(tmp_path):
    carry_out(write_plan(tmp_path))
    (section,) = report_of(tmp_path)["sections"]
    plain, better = section["runs"]["plain"], section["runs"]["better"]
    # 16 responses of 50 tokens a step, and 400 tokens of constructions: 1,200 x 4 against 800 x 6.
    assert better["costs"]["4"]["1"] == {"generated": 4800, "trained": 4 * (800 + 100), "seconds": 8}
    beside = better["at_equal_tokens"]
    assert beside["at"] == "4.8 k tokens, where better ended"
    assert beside["other"]["by_seed"] == pytest.approx(plain["accuracies"]["6"]["by_seed"])
    assert beside["differences"]["accuracy"]["estimate"]["value"] == pytest.approx(0.125)
    budgets = plain["accuracies_by_budget"]
    assert list(budgets) == ["1600.0", "3200.0", "4800.0", "6400.0"]
    assert better["accuracies_by_budget"]["6400.0"] is None
    two, four = (better["accuracies"][step]["estimate"]["value"] for step in ("2", "4"))
    third = better["accuracies_by_budget"]["3200.0"]["estimate"]["value"]  # a third of the way from 2,400 to 4,800
    assert third == pytest.approx(two + (four - two) / 3)
    assert "ended at 4.8 k tokens" in (tmp_path / "out" / "report" / "report.md").read_text()


def test_killed_in_the_middle_it_goes_on_and_gives_the_same_table(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    carry_out(write_plan(whole))
    path = write_plan(killed)
    command = [sys.executable, "-m", "tapo.cli", "compare", str(path)]
    process = subprocess.Popen(command, env=os.environ | {"PAUSE": "0.15"}, stdout=subprocess.DEVNULL)
    log = killed / "out" / "plain" / "seed-2" / "log"
    deadline = time.monotonic() + 60
    while not log.exists() or "step 2" not in log.read_text():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    text = carry_out(path)
    assert "better/seed-1: complete already" in text and "plain/seed-2: started" in text
    done = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("step")]
    assert len(set(done)) == 8 and (log.parent / "metrics.1.jsonl").exists()
    assert sections(killed) == sections(whole)
    assert carry_out(path).count("complete already") == 6  # nothing is done a third time
    assert sections(killed) == sections(whole)


def test_a_failed_run_shows_its_logs_end_and_the_others_go_on(tmp_path):
    runs = {
        "plain": {"overrides": ["plain", "{seed}", "{steps}"]},
        "broken": {"overrides": ["broken", "{seed}", "{steps}"]},
        "after": {"overrides": ["plain", "{seed}", "{steps}"], "needs": ["broken"]},
    }
    path = write_plan(tmp_path, runs=runs, seeds=[1])
    with pytest.raises(ComparisonIncomplete, match="2 of 3 runs are not complete: broken/seed-1: status 1, see"):
        carry_out(path)
    report = report_of(tmp_path)
    assert list(report["sections"][0]["runs"]) == ["plain"]
    assert report["missing"]["after/seed-1"] == "it needs broken/seed-1"
    console = Console(file=io.StringIO(), width=250)
    with pytest.raises(ComparisonIncomplete):
        compare(CompareCommand(plan=path), console)
    assert "the reason why it is broken" in console.file.getvalue()
    assert "one seed, so that intervals are over problems alone" in console.file.getvalue()


def test_metrics_that_cannot_be_shown_do_not_end_a_run(tmp_path):
    script = (
        "import os, pathlib, sys, time; out = pathlib.Path(sys.argv[1]); "
        "pathlib.Path(os.environ['VERL_FILE_LOGGER_PATH']).write_text('{\"of\": \"another kind\"}\\n'); "
        "time.sleep(0.3); (out / 'validation').mkdir(); "
        '(out / \'validation\' / \'0.jsonl\').write_text(\'{"input": "a", "output": "b", "score": 1}\\n\')'
    )
    path = write_plan(tmp_path, runs={"plain": {"command": ["python", "-c", script, "{out}"]}}, seeds=[1])
    with pytest.raises(
        ValueError, match=r"metrics\.jsonl, line 1: got \{\"of\": \"another kind\"\}, needs an integer step and data"
    ):
        carry_out(path)
    assert (tmp_path / "out" / "plain" / "seed-1" / "log.stage.json").exists()


def test_a_run_that_leaves_no_dump_has_failed(tmp_path):
    runs = {"plain": {"command": "python -c pass"}}
    with pytest.raises(ComparisonIncomplete, match="it ended with 0 and left no dump"):
        carry_out(write_plan(tmp_path, runs=runs, seeds=[1]))


def test_a_run_of_another_plan_is_refused_and_a_new_seed_is_not(tmp_path):
    carry_out(write_plan(tmp_path, seeds=[1]))
    text = carry_out(write_plan(tmp_path, seeds=[1, 2], statement="Something else."))
    assert text.count("complete already") == 2
    told = [line for line in text.splitlines() if line.startswith("The plan ")]
    assert "was stated" in told[0] and "was changed" in told[1] and "with 2 of its runs complete" in told[1]
    assert len(list((tmp_path / "out" / "plans").iterdir())) == 2
    with pytest.raises(ValueError, match=r"a run of another plan: environment\.A = nothing then, '1' now"):
        carry_out(write_plan(tmp_path, seeds=[1], environment={"A": 1}))
    (tmp_path / "out" / "new" / "seed-1").mkdir(parents=True)
    (tmp_path / "out" / "new" / "seed-1" / "thesis.txt").write_text("")
    runs = {"new": {"overrides": ["none", "{seed}", "{steps}"]}}
    with pytest.raises(ValueError, match="holds something else"):
        carry_out(write_plan(tmp_path, seeds=[1], runs=runs, against="new"))


def test_a_run_that_cannot_resume_begins_with_an_empty_folder(tmp_path):
    script = "import pathlib, sys; p = pathlib.Path(sys.argv[1]) / 'left'; sys.exit(p.exists() or bool(p.touch()) or 3)"
    runs = {"plain": {"command": ["python", "-c", script, "{out}"], "resume": False}}
    path = write_plan(tmp_path, runs=runs, seeds=[1])
    for _ in range(2):  # left behind, the file would make it end with 1
        with pytest.raises(ComparisonIncomplete, match="status 3"):
            carry_out(path)


def test_runs_at_once_see_gpus_and_rays_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    script = (
        "import os, pathlib, sys, time; out = pathlib.Path(sys.argv[1]); time.sleep(0.5); "
        "(out / 'seen').write_text(f\"{os.environ['CUDA_VISIBLE_DEVICES']} {os.environ['RAY_ADDRESS']}\"); "
        "(out / 'at').write_text(str(time.time())); (out / 'validation').mkdir(); "
        '(out / \'validation\' / \'0.jsonl\').write_text(\'{"input": "a", "output": "b", "score": 1}\\n\')'
    )
    runs = {"plain": {"command": ["python", "-c", script, "{out}"]}}
    each = {"cores": 1, "memory_gib": 0.0, "gpus": 1}
    carry_out(write_plan(tmp_path, runs=runs, each=each))
    folders = [tmp_path / "out" / "plain" / f"seed-{seed}" for seed in (1, 2, 3)]
    seen = [(folder / "seen").read_text() for folder in folders]
    assert sorted(seen[:2]) == ["4 local", "6 local"] and seen[2] in seen[:2]
    ended = [float((folder / "at").read_text()) for folder in folders]
    assert ended[2] > max(ended[:2])  # two at once


def test_tokens_of_needed_runs_count_and_hidden_runs_are_not_shown(tmp_path):
    runs = {
        "plain": {"overrides": ["plain", "{seed}", "{steps}"]},
        "collect": {"overrides": ["better", "{seed}", "{steps}"], "shown": False},
        "sft": {"overrides": ["none", "{seed}", "{steps}"], "needs": ["collect"]},
    }
    carry_out(write_plan(tmp_path, runs=runs, seeds=[1]))
    (section,) = report_of(tmp_path)["sections"]
    assert list(section["runs"]) == ["plain", "sft"]
    assert section["runs"]["sft"]["costs"]["2"]["1"]["generated"] == 2 * 800 + 2 * 1200
    log = tmp_path / "out" / "sft" / "seed-1" / "metrics.jsonl"
    before = log.read_text()
    log.write_text(before + json.dumps({"step": 2, "data": {"sft/tokens": 30.0}}) + "\n")  # as of baseline_sft.sh
    carry_out(write_plan(tmp_path, runs=runs, seeds=[1]))
    (section,) = report_of(tmp_path)["sections"]
    assert section["runs"]["sft"]["costs"]["2"]["1"] == {"generated": 2 * 800, "trained": 30, "seconds": 4}
    log.write_text(before)
    runs["sft"]["counts_needs"] = False
    carry_out(write_plan(tmp_path, runs=runs, seeds=[1]))
    (section,) = report_of(tmp_path)["sections"]
    assert section["runs"]["sft"]["costs"]["2"]["1"]["generated"] == 2 * 800


def test_groups_have_sections_of_their_own(tmp_path):
    groups = {"rare": {"says": "reflection is rare"}, "frequent": {"runs": ["plain"]}}
    text = carry_out(write_plan(tmp_path, groups=groups, seeds=[1]))
    report = report_of(tmp_path)
    assert [(one["group"], list(one["runs"])) for one in report["sections"]] == [
        ("rare", ["plain", "better"]),
        ("frequent", ["plain"]),
    ]
    assert "rare: At equal steps" in text
    assert "**rare**: reflection is rare" in (tmp_path / "out" / "report" / "report.md").read_text()


def test_a_run_has_the_same_colour_whatever_it_is_beside(tmp_path, monkeypatch):
    drawn = set()

    def draw_line(axes, steps, estimates, name, colour):
        drawn.add((name, colour))

    monkeypatch.setattr(render, "draw_line", draw_line)
    # The second of the plan's runs is not in the second group.
    runs = {name: {"overrides": ["better", "{seed}", "{steps}"]} for name in ("plain", "middle", "better")}
    groups = {"rare": {}, "frequent": {"runs": ["plain", "better"]}}
    carry_out(write_plan(tmp_path, groups=groups, runs=runs, seeds=[1]))
    assert drawn == {("plain", "C0"), ("middle", "C1"), ("better", "C2")}


def test_a_dry_run_prints_commands_and_writes_nothing(tmp_path):
    text = carry_out(write_plan(tmp_path, seeds=[1], environment={"MODEL": "a b"}), dry_run=True)
    assert f"# plain/seed-1\nenv 'MODEL=a b' python {TRAIN} {tmp_path}/out/plain/seed-1 plain 1 8" in text
    assert not (tmp_path / "out").exists()


def test_a_report_alone_starts_nothing(tmp_path):
    with pytest.raises(ComparisonIncomplete, match="not run yet, or not to its end"):
        carry_out(write_plan(tmp_path, seeds=[1]), report_only=True)
    assert report_of(tmp_path)["sections"] == []
    with pytest.raises(ValueError, match="--dry-run = True cannot work"):
        CompareCommand(plan=tmp_path / "plan.yaml", report_only=True, dry_run=True)


def test_one_comparison_at_a_time_in_a_folder(tmp_path):
    path = write_plan(tmp_path, seeds=[1])
    (tmp_path / "out").mkdir()
    held = f"f = open({str(tmp_path / 'out' / '.lock')!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX)"
    code = f"import fcntl, sys; {held}; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(ValueError, match="another `tapo compare` is at work there"):
            carry_out(path)
        with pytest.raises(ComparisonIncomplete):  # what is complete so far can be looked at
            carry_out(path, report_only=True)
        other.stdin.close()
