import io
import itertools
import math

import numpy as np
import pytest
from rich.console import Console

from tapo.core.phrases import REFLECTIONS, PhraseMatch, load_detector
from tapo.evaluation import reflection_rates
from tapo.evaluation.detector_agreement import REFLECTION, LabelledExample, agreement, print_agreement, read_labelled
from tapo.evaluation.reflection import READINGS, readings_of


@pytest.fixture(scope="module")
def detector():
    return load_detector()


def phrases(tmp_path, text):
    path = tmp_path / "phrases.yaml"
    path.write_text(text)
    return path


def test_the_examples_reflections_are_found(detector):
    text = "Step 2: 84-39=55\nWait, 84-39 is not 55."
    assert detector.find(text) == [PhraseMatch(17, 22, "wait,")]
    assert detector.reflects(text)


@pytest.mark.parametrize(
    ("text", "reflects"),
    [
        ("That\u2019s  not\nright: 7*8 is 56.", True),
        ("... = 54. BUT WAIT, 7*8 is 56.", True),
        ("We wait, and the train comes.", False),
        ("Thermometers: I mismeasured nothing, hmmm is no word here", False),
        ("", False),
    ],
)
def test_case_apostrophes_blanks_and_places_are_respected(detector, text, reflects):
    assert detector.reflects(text) is reflects
    assert bool(detector.find(text)) is reflects


def test_of_overlapping_phrases_the_longest_is_reported(tmp_path):
    path = phrases(tmp_path, "{name: a, version: 2, phrases: {anywhere: [oh, oh no, no way]}}")
    text = "oh no way, oh"
    assert [match.phrase for match in load_detector(path).find(text)] == ["oh no", "oh"]
    assert load_detector(path).describe().items() >= {"name": "a", "version": "2"}.items()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", r"the file = \[\] cannot work: needs a mapping"),
        (
            "{name: a, version: 1, phrases: {anywhere: [b]}, flavour: c}",
            r"keys = \['flavour'\] cannot work: needs only",
        ),
        ("{version: 1, phrases: {anywhere: [b]}}", "name = None cannot work"),
        (
            "{name: a, version: 1, phrases: {somewhere: [b]}}",
            r"phrases = .*somewhere.* needs lists under opening or any",
        ),
        ("{name: a, version: 1, phrases: {anywhere: ['']}}", r"phrases\.anywhere = \[''\] cannot work: needs a list"),
        ("{name: [", "cannot be read"),
    ],
)
def test_a_broken_phrase_list_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_detector(phrases(tmp_path, text))


def test_dsr_and_err_are_conditional_accuracies_with_their_counts():
    direct, reflected = "12\n\\boxed{12}", "11\nWait, no.\n\\boxed{12}"
    records = [{"output": direct, "acc": a} for a in (1, 1, 1, 0)] + [{"output": reflected, "acc": a} for a in (1, 0)]
    report = reflection_rates(records)
    assert (report.dsr, report.err) == (0.75, 0.5)
    assert report.counts == {"no_reflection": {"correct": 3, "wrong": 1}, "reflection": {"correct": 1, "wrong": 1}}


def test_every_reading_is_its_ratio_of_the_counts():
    counts = {"no_reflection": {"correct": 6, "wrong": 2}, "reflection": {"correct": 3, "wrong": 5}}
    assert readings_of(counts) == {
        "dsr": 6 / 8,
        "direct_and_correct": 6 / 16,
        "direct_given_correct": 6 / 9,
        "err": 3 / 8,
        "reflected_and_correct": 3 / 16,
        "reflected_given_correct": 3 / 9,
        "reflected_given_wrong": 5 / 7,
    }
    record = [{"reflection": False, "correct": False, "output": ""}]
    assert math.isnan(reflection_rates(record).readings["direct_given_correct"])


PAPER = {
    ("AIME 2024", "GRPO"): (52.92, 34.0, 52.0),
    ("AIME 2024", "TAPO"): (62.50, 47.5, 63.4),
    ("AIME 2025", "GRPO"): (46.88, 22.1, 51.5),
    ("AIME 2025", "TAPO"): (46.88, 38.0, 56.3),
    ("HMMT 2025", "GRPO"): (28.75, 28.0, 33.8),
    ("HMMT 2025", "TAPO"): (31.46, 50.4, 36.8),
}
"""(pass@1, DSR, ERR) in per cent, as published."""
CELLS = [("no_reflection", "correct"), ("no_reflection", "wrong"), ("reflection", "correct"), ("reflection", "wrong")]


def shares_behind(pass_at_1, figures):
    """The 2x2 table of shares that has this accuracy and these readings, all in per cent; None if there is none.

    A reading's value v says: sum of its numerator - v * sum of its denominator = 0, which is linear in the shares.
    """
    rows, values = [[1, 1, 1, 1], [1, 0, 1, 0]], [1, pass_at_1 / 100]
    for name, value in figures.items():
        part, whole = READINGS[name]
        rows.append([(cell in part) - value / 100 * (cell in whole) for cell in CELLS])
        values.append(0)
    shares = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    if min(shares) < -1e-9 or not np.allclose(np.array(rows) @ shares, values, atol=1e-6):
        return None
    table = {kind: {} for kind, _ in CELLS}
    for (kind, outcome), share in zip(CELLS, shares, strict=True):
        table[kind][outcome] = share
    return table


def test_of_all_readings_the_papers_figures_allow_one_of_dsr_in_all_six_cells():
    readings = itertools.product(
        ("dsr", "direct_and_correct", "direct_given_correct"),
        ("err", "reflected_and_correct", "reflected_given_correct"),
    )
    feasible = {}
    for direct, reflected in readings:
        tables = {cell: shares_behind(a, {direct: d, reflected: r}) for cell, (a, d, r) in PAPER.items()}
        feasible[direct, reflected] = {cell: table for cell, table in tables.items() if table}
        for cell, table in feasible[direct, reflected].items():  # the tables found do have the figures
            found = readings_of(table)
            assert (100 * found[direct], 100 * found[reflected]) == pytest.approx(PAPER[cell][1:])
    assert [pair for pair, cells in feasible.items() if len(cells) == 6] == [("direct_given_correct", "err")]
    impossible = PAPER.keys() - feasible["dsr", "err"].keys()
    assert impossible == {("AIME 2024", "GRPO"), ("HMMT 2025", "TAPO")}
    reflecting = [100 * sum(table["reflection"].values()) for table in feasible["direct_given_correct", "err"].values()]
    assert [round(share) for share in (min(reflecting), max(reflecting))] == [42, 71]
    documented = (REFLECTIONS.parents[3] / "docs" / "evaluation.md").read_text()
    for pair, cells in feasible.items():
        assert f"| `{pair[0]}` | `{pair[1]}` | {len(cells)} of 6 |" in documented


def test_labels_take_the_detectors_and_the_scores_place_and_a_rate_of_nothing_is_nan():
    report = reflection_rates([{"reflection": False, "correct": True, "output": "Wait, no.", "score": -1.0}])
    assert report.dsr == 1.0 and math.isnan(report.err)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"score": 1.0}, r"record 0: output = None cannot work: needs a text"),
        ({"output": "a", "acc": math.nan}, r"record 0: acc = nan cannot work: needs a finite number"),
        ({"output": "a"}, r"record 0: score = None cannot work"),
    ],
)
def test_records_without_text_or_score_are_refused(record, message):
    with pytest.raises(ValueError, match=message):
        reflection_rates([record])


def test_agreement_counts_both_kinds_of_error(tmp_path):
    path = phrases(tmp_path, "{name: a, version: 1, phrases: {anywhere: [x]}}")
    examples = [LabelledExample(text, label, "") for text, label in (("x", True), ("x", False), ("y", True))]
    examples += [LabelledExample("y", False, "")] * 5
    told = agreement(load_detector(path), examples)
    assert (told.precision(REFLECTION), told.recall(REFLECTION), told.accuracy) == (0.5, 0.5, 0.75)
    assert told.kappa == pytest.approx((0.75 - 40 / 64) / (1 - 40 / 64))
    console = Console(file=io.StringIO(), width=160)
    print_agreement(load_detector(path), examples, console)
    assert console.file.getvalue().splitlines()[-2:] == ["missed: 'y' ()", "false alarm: 'x' ()"]


def test_the_shipped_examples_are_at_least_sixty_distinct_ones_of_both_kinds(detector):
    examples = read_labelled()
    assert len({example.text for example in examples}) == len(examples) >= 60
    assert sum(example.reflection for example in examples) >= 30
    assert sum(not example.reflection for example in examples) >= 30
    assert all(example.why for example in examples)


def test_the_shipped_detector_agrees_with_the_labels_as_documented(detector):
    told = agreement(detector, read_labelled())
    documented = (REFLECTIONS.parents[3] / "docs" / "evaluation.md").read_text()
    assert f"precision {told.precision(REFLECTION):.2f}, recall {told.recall(REFLECTION):.2f}" in documented
    assert f"agreement {told.accuracy:.2f}, Cohen's kappa {told.kappa:.2f}" in documented


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "line 1 is no JSON"), ('{"text": "a"}', "needs a text `text` and a boolean"), ("", "got none")],
)
def test_broken_labels_are_named(tmp_path, line, message):
    (tmp_path / "labels.jsonl").write_text(line)
    with pytest.raises(ValueError, match=message):
        read_labelled(tmp_path / "labels.jsonl")
