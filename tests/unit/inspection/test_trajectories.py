import io
import json
import subprocess
import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tapo import training_progress as watch
from tapo.cli import app
from tapo.inspection import summary
from tapo.inspection.constructions import ConstructionFilter
from tapo.inspection.trajectories import print_trajectories
from tests.stand_ins.dumps import construction, trained, write_dump


def console():
    return Console(file=io.StringIO(), width=160)


def write_run(folder, by_step, steps=()):
    (folder / "validation").mkdir(parents=True)
    for step, rows in by_step.items():
        lines = [json.dumps({"input": problem, "score": acc, "acc": acc}) for problem, acc in rows]
        (folder / "validation" / f"{step}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": 1, "data": data}) + "\n" for data in steps))


def test_accuracy_is_a_mean_over_problems_and_the_change_is_paired(tmp_path):
    before = [("a", 1), ("a", 0), ("b", 0), ("b", 0)]
    after = [("a", 1), ("a", 1), ("b", 1), ("b", 0)]
    write_run(tmp_path / "tapo", {0: before, 10: after})
    by_step = summary.read_accuracies(tmp_path / "tapo")
    assert list(by_step) == [0, 10]
    assert by_step[0].by_problem == {"a": 0.5, "b": 0.0} and by_step[0].samples == 4
    assert str(by_step[10]) == "0.750 ± 0.250"
    assert summary.difference(by_step[10], by_step[0]) == "+0.500 ± 0.000"
    assert summary.compare("tapo", by_step[10], "grpo", by_step[0]).endswith("tapo is ahead")
    assert summary.compare("tapo", by_step[10], "grpo", by_step[10]).endswith("within noise")


def test_the_funnel_sums_the_steps_of_runs_that_constructed(tmp_path):
    step = {f"tapo/construct/{stage}": n for stage, n in zip(summary.FUNNEL, (8, 7, 6, 5, 0), strict=True)}
    step |= {"training/global_step": 1, "tapo/construct/rejected/leak": 1, "tapo/construct/rejected/too_long": 2}
    write_run(tmp_path / "tapo", {0: [("a", 1)]}, steps=[step, step | {"tapo/construct/trained": 6}])
    write_run(tmp_path / "grpo", {0: [("a", 1)]}, steps=[{"training/global_step": 1}])
    out = console()
    summary.print_summary([tmp_path / "tapo", tmp_path / "grpo"], out)
    text = out.file.getvalue()
    assert "1 of 2" in text and "too_long 4, leak 2" in text
    cells = [cell.strip() for line in text.splitlines() if "1 of 2" in line for cell in line.split("│")]
    assert cells[1:7] == ["tapo", "16", "14", "12", "10", "6"]


def test_a_run_without_a_validation_dump_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"validation/STEP\.jsonl"):
        summary.read_accuracies(tmp_path)


def printed(dump, **options):
    """(trajectories shown, text) of the terminal's view."""
    out = console()
    number = print_trajectories(dump, out, **{"wanted": ConstructionFilter(), **options})
    return number, out.file.getvalue()


def test_a_trajectory_shows_its_segments_the_dropped_tail_and_its_sibling_folded(tmp_path):
    write_dump(tmp_path, [construction(step=2), construction(step=3, outcome="leak")], end="{")
    number, text = printed(tmp_path, wanted=ConstructionFilter(outcome="trained"))
    assert number == 1
    assert "P1 R1 C1" in text and "step 2 · trained · reward 1 · 2 tokens kept" in text
    dropped = text.index("dropped from the wrong rollout")
    assert dropped < text.index("bad tail") < text.index("correct sibling")
    assert "sibling line 5" in text and "sibling line 6" not in text and "(3 more lines with --full)" in text
    assert "1 of 1 that fit, 2 in all" in text
    assert "1 half-written last line(s) skipped: constructions-host-1.jsonl" in text
    _, text = printed(tmp_path, wanted=ConstructionFilter(outcome="trained"), full=True)
    assert "sibling line 8" in text and "--full" not in text


def test_a_rejected_construction_shows_its_raw_answer_and_the_wrong_rollout(tmp_path):
    write_dump(tmp_path, [construction(step=3, outcome="leak"), construction(outcome="timeout", answer="")])
    number, text = printed(tmp_path)
    assert number == 2
    assert "step 3 · leak · reward - · nothing spliced" in text
    assert "raw answer" in text and "P1 bad tail" in text and "(no answer)" in text


def test_the_last_trajectories_that_fit_are_printed(tmp_path):
    write_dump(tmp_path, [construction(step, query=f"query {step}") for step in (3, 1, 2)])
    number, text = printed(tmp_path, limit=2)
    assert number == 2
    assert text.index("query 2") < text.index("query 3") and "query 1" not in text
    assert printed(tmp_path, wanted=ConstructionFilter(reason="leak"))[0] == 0


def test_segments_have_their_styles_and_no_text_reaches_the_terminal_as_a_command(tmp_path):
    write_dump(tmp_path, [construction(reflection="[red]\x1b]0;title\x07 ")])
    out = Console(file=io.StringIO(), width=160, force_terminal=True, color_system="standard")
    print_trajectories(tmp_path, out, wanted=ConstructionFilter())
    text = out.file.getvalue()
    assert "\x1b[31mP1 " in text and "[red]\u241b]0;title" in text and "\x1b[32mC1" in text
    assert "\x1b[2;9mbad tail" in text and "\x1b]0" not in text


def test_the_command_prints_or_writes_a_page(tmp_path):
    dump = write_dump(tmp_path, [construction(), construction(outcome="leak")], [trained()])
    done = CliRunner().invoke(app, ["inspect", str(dump), "--step", "1", "--limit", "2"])
    assert done.exit_code == 0 and "1 of 1 that fit, 2 in all" in done.output
    done = CliRunner().invoke(app, ["inspect", str(dump), "--reason", "leak"])
    assert done.exit_code == 0 and "raw answer" in done.output
    done = CliRunner().invoke(app, ["inspect", str(dump), "--html", str(tmp_path / "page.html"), "--title", "A run"])
    assert done.exit_code == 0 and "2 trajectories of 2 that fit, 2 in all" in done.output
    assert "<h1>A run</h1>" in (tmp_path / "page.html").read_text()


def test_help_imports_nothing_heavy():
    heavy = "{'torch', 'jinja2', 'pandas', 'verl', 'transformers'}"
    code = f"import sys, tapo.cli; found = {heavy} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_loss_that_is_no_number_is_left_out_of_the_line():
    assert watch.describe({"train/loss": 0.5, "val/loss": None}) == "loss 0.500"


def test_a_watched_command_shows_its_steps_and_a_failure_its_log(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    line = json.dumps({"step": 1, "data": {"critic/score/mean": 0.25}})
    script = f"print('the reason'); open({str(metrics)!r}, 'w').write({line!r} + chr(10)); raise SystemExit(3)"
    out = console()
    assert watch.watch(tmp_path, 2, "run", [sys.executable, "-c", script], out) == 3
    text = out.file.getvalue()
    assert "run: step 1 of 2, reward 0.250" in text
    assert "the reason" in text and "status 3" in text
