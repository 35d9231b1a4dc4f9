import io
import json
import sys

import pytest
from rich.console import Console

from tapo.inspection import summary, watch
from tapo.inspection.trajectories import print_trajectories


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


def test_trajectories_show_their_three_segments(tmp_path):
    record = {"step": 2, "query": "Q", "answer": "raw", "prefix": "P1 ", "reflection": "R1 ", "correction": "C1"}
    record |= {"prefix_length": 3, "reward": 1.0, "outcome": "trained"}
    rejected = record | {"prefix": None, "prefix_length": None, "reward": None, "outcome": "leak", "step": 3}
    (tmp_path / "constructions-host-1.jsonl").write_text(json.dumps(record) + "\n" + json.dumps(rejected) + "\n")
    out = console()
    assert print_trajectories(tmp_path, out, limit=3, outcome="trained", correct=True) == 1
    assert "P1 R1 C1" in out.file.getvalue() and "3 tokens kept" in out.file.getvalue()
    assert print_trajectories(tmp_path, out, limit=3, outcome="leak", correct=False) == 1
    assert "raw" in out.file.getvalue()
    with pytest.raises(ValueError, match="dump_dir"):
        print_trajectories(tmp_path / "elsewhere", out, limit=3, outcome="trained", correct=False)


def test_a_watched_command_shows_its_steps_and_a_failure_its_log(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    line = json.dumps({"step": 1, "data": {"critic/score/mean": 0.25}})
    script = f"print('the reason'); open({str(metrics)!r}, 'w').write({line!r} + chr(10)); raise SystemExit(3)"
    out = console()
    assert watch.watch(tmp_path, 2, "run", [sys.executable, "-c", script], out) == 3
    text = out.file.getvalue()
    assert "run: step 1 of 2, reward 0.250" in text
    assert "the reason" in text and "status 3" in text
