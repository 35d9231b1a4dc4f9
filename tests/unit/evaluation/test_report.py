import io
import json
import math

import pytest
from rich.console import Console

from tapo.evaluation.folders import SAMPLING, read_manifest, write_manifest
from tapo.evaluation.options import ReportOptions, SummaryCommand
from tapo.evaluation.render import print_report, summarise_runs, tables, to_json, to_markdown, write_report
from tapo.evaluation.report import build_report

DIRECT, REFLECTED = "\\boxed{1}", "2\nWait, no.\n\\boxed{1}"


def write_step(folder, step, problems, **others):
    """`problems` is {prompt: [(correct, reflects), ...]}."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for prompt, samples in problems.items():
        for correct, reflects in samples:
            output = REFLECTED if reflects else DIRECT
            record = {"input": prompt, "output": output, "gts": "1", "score": float(correct), "acc": correct}
            record |= {"pred": "1" if correct else "2", "unparsable": 0, "step": step}
            lines.append(json.dumps(record | others))
    (folder / f"{step}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def problems(corrects, n=4, reflecting=0):
    """One problem for each number of correct samples; the first `reflecting` samples of each reflect."""
    return {f"p{i}": [(int(j < c), j < reflecting) for j in range(n)] for i, c in enumerate(corrects)}


def manifest(**sampling):
    settings = dict.fromkeys(SAMPLING, 1) | {"n": 4, "max_response_length": 12} | sampling
    data = [{"name": "bench", "problems": 3, "sha256": "a" * 64}]
    rest = {"verifier": {}, "detector": {}, "seed": 0, "versions": {"verl": "0.9.1"}, "overrides": []}
    return {"schema": 1, "model": {"path": "/nowhere", "step": 40}, "benchmarks": data, "sampling": settings, **rest}


def values(report, benchmark="validation", run=0):
    return {name: estimate.value for name, estimate in report.runs[run].at(benchmark).report.figures.items()}


def text_of(report):
    console = Console(file=io.StringIO(), width=200)
    print_report(report, tables(report), console)
    return console.file.getvalue()


def test_every_figure_of_a_dump_with_known_answers_is_right(tmp_path):
    # c = 0, 1, 2, 4 of n = 4, where the first sample of each problem reflects: it is correct in three of four.
    run = write_step(tmp_path / "run", 0, problems((0, 1, 2, 4), reflecting=1), response_tokens=9, truncated=0)
    found = values(build_report([run]))
    assert found == pytest.approx(
        {
            "accuracy": 7 / 16,
            "pass@1": 7 / 16,
            "pass@2": (0 + 1 / 2 + 5 / 6 + 1) / 4,
            "pass@4": 3 / 4,
            "majority": (0 + 0 + 1 / 2 + 1) / 4,
            "dsr": 4 / 12,
            "direct_and_correct": 4 / 16,
            "direct_given_correct": 4 / 7,
            "err": 3 / 4,
            "reflected_and_correct": 3 / 16,
            "reflected_given_correct": 3 / 7,
            "reflected_given_wrong": 1 / 9,
            "reflections": 1 / 4,
            "length": 9,
            "truncated": 0,
            "unparsable": 0,
        }
    )
    counts = build_report([run]).runs[0].at("validation").report.reflection_counts
    assert counts == {"no_reflection": {"correct": 4, "wrong": 8}, "reflection": {"correct": 3, "wrong": 1}}


def test_needless_reflection_is_a_figure_where_the_dump_tells_it_and_no_word_where_it_does_not(tmp_path):
    told = write_step(tmp_path / "told", 0, problems((1, 2)), needless_reflection=1)
    lines = (told / "0.jsonl").read_text().splitlines()
    (told / "0.jsonl").write_text("\n".join([lines[0].replace('flection": 1', 'flection": 0'), *lines[1:]]) + "\n")
    report = build_report([told])
    assert values(report)["needless_reflection"] == 7 / 8
    assert "responses with a needless reflection" in text_of(report)
    silent = build_report([write_step(tmp_path / "silent", 0, problems((1, 2)))])
    assert "needless" not in text_of(silent) and "needless_reflection" not in values(silent)


def test_the_faithful_share_is_over_correct_responses_where_the_dump_tells_it(tmp_path):
    told = write_step(tmp_path / "told", 0, problems((1, 2)), faithful=1)
    rows = [json.loads(line) for line in (told / "0.jsonl").read_text().splitlines()]
    for row, faithful in zip(rows, (0, 0, 1, 0, 1, 0, 1, 1), strict=True):
        row["faithful"] = faithful
    (told / "0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    correct = [row["faithful"] for row in rows if row.get("acc", row["score"]) > 0.5]
    report = build_report([told])
    assert len(correct) == 3 and values(report)["faithful"] == sum(correct) / 3
    assert "correct responses without an objection to their text" in text_of(report)
    silent = build_report([write_step(tmp_path / "silent", 0, problems((1, 2)))])
    assert "objection" not in text_of(silent) and "faithful" not in values(silent)


def test_pass_at_k_agrees_with_an_independent_implementation_on_random_counts(tmp_path):
    import random

    rng = random.Random(7)
    counts = [rng.randint(0, 16) for _ in range(25)]
    run = write_step(tmp_path / "run", 0, problems(counts, n=16))
    found = values(build_report([run], ReportOptions(resamples=100)))
    for k in (1, 2, 4, 5, 8, 16):
        exact = [1 - math.comb(16 - c, k) / math.comb(16, k) for c in counts]
        assert found[f"pass@{k}"] == pytest.approx(sum(exact) / len(exact), abs=1e-12)


def test_the_last_step_is_reported_never_the_best(tmp_path):
    run = tmp_path / "run"
    for step, corrects in ((2, (4, 4)), (10, (0, 1))):
        write_step(run / "validation", step, problems(corrects))
    report = build_report([run])
    assert report.runs[0].name == "run"
    assert report.runs[0].at("validation").step == 10
    assert "mean accuracy over steps" in text_of(report)
    assert build_report([run], ReportOptions(step=2)).runs[0].at("validation").report.figures["accuracy"].value == 1
    with pytest.raises(ValueError, match="--step = 3 cannot work: run, validation has 2, 10"):
        build_report([run], ReportOptions(step=3))


def test_a_runs_change_is_paired_from_its_first_step_to_the_reported_one(tmp_path):
    run = tmp_path / "run"
    for step, corrects in ((0, (0, 1, 2)), (5, (4, 4, 4)), (10, (1, 2, 3))):
        write_step(run / "validation", step, problems(corrects))
    report = build_report([run])
    change = report.runs[0].changes["validation"]
    assert (change.steps, change.shared) == ((0, 10), 3)
    assert vars(change.differences["accuracy"]) == pytest.approx({"value": 0.25, "low": 0.25, "high": 0.25})
    assert "+25.0 [+25.0, +25.0] points, beyond noise" in text_of(report)
    assert (
        build_report([run], ReportOptions(step=5)).runs[0].changes["validation"].differences["accuracy"].value == 0.75
    )
    assert build_report([run], ReportOptions(step=0)).runs[0].changes == {}


def test_steps_that_share_no_problem_have_no_change_and_it_is_said(tmp_path):
    write_step(tmp_path / "run", 0, {"x": [(1, False)]})
    report = build_report([write_step(tmp_path / "run", 5, {"y": [(1, False)]})])
    assert report.runs[0].changes == {}
    assert "run, validation, step 5: no change since step 0: no problem is shared" in report.notes


def write_training_log(folder, steps, end=""):
    funnel = {f"tapo/construct/{stage}": 8 for stage in ("attempted", "parsed", "spliced", "correct", "trained")}
    data = funnel | {"tapo/construct/rejected/leak": 1}
    lines = [json.dumps({"step": step, "data": data | {"training/global_step": step}}) for step in range(1, steps + 1)]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines) + end)


def cells(text, name):
    """Of each table's row that begins with `name`."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    return [row[1:] for row in rows if row[0] == name]


def test_the_summary_shows_before_after_change_and_the_funnel_of_those_that_constructed(tmp_path):
    runs = [tmp_path / "tapo", tmp_path / "grpo"]
    for run, last in zip(runs, ((1, 2, 3), (0, 1, 2)), strict=True):
        write_step(run / "validation", 0, problems((0, 1, 2)))
        write_step(run / "validation", 10, problems(last))
    write_training_log(runs[0], 2, end='{"step": 3, "da')
    console = Console(file=io.StringIO(), width=200)
    summarise_runs(SummaryCommand(folders=tuple(runs)), console)
    text = console.file.getvalue()
    accuracies, funnel = cells(text, "tapo")
    assert accuracies[0] == "10" and [cell.split(" ")[0] for cell in accuracies[1:4]] == ["25.0", "50.0", "+25.0"]
    assert accuracies[4] == "beyond noise" and cells(text, "grpo")[0][3:] == [
        "+0.0 [+0.0, +0.0] points",
        "within noise",
    ]
    assert funnel == ["16"] * 5 + ["2 of 2", "leak 2"] and len(cells(text, "grpo")) == 1
    assert "validation: grpo against tapo, mean accuracy -25.0 points" in text
    assert "Note: tapo, metrics.jsonl: half-written last line left out: 1" in text
    report = to_json(build_report(runs))
    assert report["constructions"]["tapo"]["rejected"] == {"leak": 2} and "grpo" not in report["constructions"]
    assert report["changes"]["tapo"]["validation"]["steps"] == [0, 10]


def test_a_broken_training_log_costs_the_funnel_alone(tmp_path):
    run = write_step(tmp_path / "run" / "validation", 0, problems((1, 1))).parent
    (run / "metrics.jsonl").write_text("{\n{}\n")
    report = build_report([run])
    assert report.runs[0].funnel is None
    assert any(note.startswith("run, metrics.jsonl: no construction funnel: ") for note in report.notes)


def test_differences_are_paired_and_told_in_a_sentence(tmp_path):
    first = write_step(tmp_path / "grpo", 0, problems((0, 1, 2, 3) * 5))
    second = write_step(tmp_path / "tapo", 0, problems((1, 2, 3, 4) * 5))
    (comparison,) = build_report([first, second]).comparisons
    difference = comparison.differences["accuracy"]
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.25, 0.25, 0.25))
    told = "validation: tapo against grpo, mean accuracy +25.0 points [+25.0, +25.0] over 20 shared problems"
    assert comparison.sentence == f"{told}: tapo is ahead."
    (backwards,) = build_report([second, first]).comparisons
    assert backwards.sentence.endswith(": tapo is ahead.")


def test_a_difference_of_both_signs_is_within_noise(tmp_path):
    first = write_step(tmp_path / "a", 0, problems((0, 4) * 6))
    second = write_step(tmp_path / "b", 0, problems((4, 0) * 6))
    report = build_report([first, second])
    assert report.comparisons[0].sentence.endswith(": within noise.")
    assert "within noise" in text_of(report)


def test_runs_that_share_some_problems_are_compared_on_those_and_it_is_said(tmp_path):
    first = write_step(tmp_path / "a", 0, problems((1, 1, 1)))
    second = write_step(tmp_path / "b", 0, problems((1, 2)) | {"new": [(1, False)] * 4})
    report = build_report([first, second])
    assert report.comparisons[0].shared == 2
    assert report.comparisons[0].differences["accuracy"].value == pytest.approx(0.125)
    assert "validation, b against a: 2 problems are shared and compared, 1 and 1 are in one alone" in report.notes


def test_runs_that_share_nothing_are_refused(tmp_path):
    first = write_step(tmp_path / "a", 0, {"x": [(1, False)]})
    second = write_step(tmp_path / "b", 0, {"y": [(1, False)]})
    with pytest.raises(ValueError, match="got 1 and 1 problems, none shared"):
        build_report([first, second])
    other = write_step(tmp_path / "c" / "aime", 0, {"x": [(1, False)]}).parent
    with pytest.raises(ValueError, match="share no benchmark: a has validation; c has aime"):
        build_report([first, other])


def test_figures_that_do_not_mean_the_same_are_not_compared(tmp_path):
    first = write_step(tmp_path / "a", 0, problems((1, 1), n=2), response_tokens=3)
    second = write_step(tmp_path / "b", 0, problems((1, 1), n=4))
    report = build_report([first, second])
    assert not {"majority", "length", "pass@4"} & set(report.comparisons[0].differences)
    assert sum("not compared" in note for note in report.notes) == 2


def test_manifests_that_differ_and_missing_samples_are_noted(tmp_path):
    for name, settings in (("a", manifest()), ("b", manifest(temperature=0.6))):
        write_step(tmp_path / name / "bench", 0, problems((1, 1)))
        write_manifest(tmp_path / name, settings)
    notes = build_report([tmp_path / "a", tmp_path / "b"]).notes
    assert "a and b: the protocols differ in sampling.temperature: 1 against 0.6" in notes
    assert "a, bench, step 40: 8 samples where the manifest has 12; verl drops sessions that fail" in notes
    assert not any("no manifest" in note for note in notes)
    inner = build_report([tmp_path / "a" / "bench"]).runs[0]
    assert (inner.manifest, list(inner.benchmarks)) == (manifest(), ["bench"])


def test_truncation_is_read_off_token_counts_where_a_limit_is_known(tmp_path):
    run = write_step(tmp_path / "run", 0, {"x": [(1, False)] * 3, "y": [(1, False)]}, response_tokens=12)
    assert values(build_report([run], ReportOptions(response_limit=12)))["truncated"] == 1
    report = build_report([run])
    assert "truncated" not in values(report) and "truncated unknown" in " ".join(report.notes)
    assert "unknown" in next(line for line in text_of(report).splitlines() if "truncated" in line)


def test_one_dump_of_two_sources_becomes_two_benchmarks(tmp_path):
    run = write_step(tmp_path / "run", 0, problems((1, 1)), data_source="x")
    lines = (run / "0.jsonl").read_text()
    (run / "0.jsonl").write_text(lines + lines.replace('"x"', '"y"'))
    assert list(build_report([run]).runs[0].benchmarks) == ["validation:x", "validation:y"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resamples": 5}, "--resamples = 5 cannot work: needs an integer from 100 to 1,000,000"),
        ({"seed": -1}, "--seed = -1 cannot work"),
        ({"response_limit": 0}, "--response-limit = 0 cannot work"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ReportOptions(**options)


def test_folders_without_dumps_are_refused_and_equal_names_told_apart(tmp_path):
    with pytest.raises(ValueError, match=r"holds no dump; needs STEP\.jsonl"):
        build_report([tmp_path])
    one, two = (write_step(tmp_path / name / "run", 0, problems((1, 2))) for name in ("x", "y"))
    assert [run.name for run in build_report([one, two]).runs] == ["x/run", "y/run"]
    with pytest.raises(ValueError, match="given twice"):
        build_report([one, one])


def test_a_broken_manifest_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"schema = None cannot work: needs 1"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 1, "sampling": {}}))
    with pytest.raises(ValueError, match=r"model, benchmarks, .*sampling\.n.* is missing"):
        read_manifest(tmp_path)


def test_markdown_json_and_plots_are_written(tmp_path):
    runs = [write_step(tmp_path / name, step, problems((1, 2), reflecting=1)) for name, step in (("a", 0), ("b", 5))]
    write_step(runs[0], 3, problems((2, 2)))
    report = build_report(runs, ReportOptions(resamples=100))
    files = write_report(report, tmp_path / "report")
    plots = [f"{name}.{kind}" for name in ("pass_at_k", "dsr_err", "accuracy_over_steps") for kind in ("png", "svg")]
    assert [file.name for file in files] == ["report.md", "report.json", *plots]
    assert all(file.stat().st_size > 0 for file in files)
    written = json.loads((tmp_path / "report" / "report.json").read_text())
    assert written == json.loads(json.dumps(to_json(report)))
    assert written["runs"]["b"]["validation"]["5"]["figures"]["accuracy"]["value"] == 0.375
    assert written["runs"]["a"]["validation"]["3"]["figures"]["err"] == {"value": None, "low": None, "high": None}
    assert written["manifest"]["detector"]["name"] == "tapo-en"
    assert set(written["manifest"]["runs"]["b"]["dumps"]["validation"]["5"]) == {"file", "sha256", "fields"}
    assert "| DSR as P(correct \\| no reflection) |" in to_markdown(report)
    assert "undefined: no such response" in text_of(report)
