import io
import math

import pytest
from rich.console import Console

from tapo.core.phrases import REFLECTIONS, PhraseMatch, load_detector
from tapo.evaluation import reflection_rates
from tapo.evaluation.detector_agreement import REFLECTION, LabelledExample, agreement, print_agreement, read_labelled


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
