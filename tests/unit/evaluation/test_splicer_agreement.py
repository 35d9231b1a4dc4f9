"""The splicer and the leak detector against examples labelled by hand, and the documented figures."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from tapo.core.leak import find_leak
from tapo.evaluation.confusion import Confusion
from tapo.evaluation.splicer_agreement import (
    LABELLED_LEAKS,
    LABELS,
    confusion,
    leak_confusion,
    read_constructions,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "construction.md"


@pytest.fixture(scope="module")
def examples():
    return read_constructions()


def test_the_shipped_constructions_are_distinct_varied_and_a_third_held_out(examples):
    assert len({(example.wrong, example.reconstruction) for example in examples}) == len(examples) >= 150
    assert sum(example.held_out for example in examples) >= len(examples) / 3
    assert len({example.language for example in examples}) >= 8 and len({example.kind for example in examples}) >= 8
    for held_out in (True, False):
        labels = Counter(example.label for example in examples if example.held_out is held_out)
        assert labels.keys() == set(LABELS) and min(labels.values()) >= 5
    assert not {e.wrong for e in examples if e.held_out} & {e.wrong for e in examples if not e.held_out}


def test_no_copy_leak_or_fresh_start_passes_for_a_good_construction(examples):
    counts = confusion(examples).counts
    assert {own for own, told in counts if told == "good"} <= {"good", "no_reflection"}


@pytest.mark.parametrize("held_out", [False, True])
def test_the_splicer_agrees_with_the_labels_as_documented(examples, held_out):
    part = [example for example in examples if example.held_out is held_out]
    assert confusion(part).to_markdown(LABELS) in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize("held_out", [False, True])
def test_the_leak_detector_agrees_with_the_labels_as_documented(held_out):
    assert leak_confusion(held_out).to_markdown(("leak", "clean")) in DOCUMENT.read_text(encoding="utf-8")


def test_the_labelled_sentences_are_distinct_and_of_both_kinds():
    parts = yaml.safe_load(LABELLED_LEAKS.read_text(encoding="utf-8"))
    sentences = [text for part in parts.values() for listed in part.values() for text in listed]
    assert len(set(sentences)) == len(sentences)
    assert min(len(listed) for listed in parts["tuned"].values()) >= 60
    assert min(len(listed) for listed in parts["held_out"].values()) >= 20


@pytest.mark.parametrize(
    "text",
    [
        "In the correct solution, x = 5",
        "as shown in the correct solution",
        "the solution I was given",
        "my previous attempt was wrong",
        "The first critical error is in step 2",
    ],
)
def test_speaking_of_what_was_shown_is_a_leak_wherever_it_stands(text):
    prose = "Therefore the sum of the first n terms is n(n+1)/2. " * 40
    assert find_leak(prose + text + ". " + prose)
    assert find_leak(prose) is None


@pytest.mark.parametrize("text", ["the correct answer given these constraints", "the correct response is (B)"])
def test_ordinary_prose_is_no_leak(text):
    assert find_leak(f"Thus {text}.") is None


def test_precision_and_recall_are_of_verdicts_and_of_labels():
    result = Confusion({("good", "good"): 3, ("good", "leak"): 1, ("leak", "good"): 2})
    assert (result.precision("good"), result.recall("good"), result.support("good")) == (0.6, 0.75, 4)
    assert (result.precision("leak"), result.recall("leak"), result.total) == (0.0, 0.0, 6)
    assert result.precision("no_reflection") is None and result.recall("no_reflection") is None
    assert (result.accuracy, result.kappa) == (0.5, pytest.approx((18 - 22) / (36 - 22)))


def test_kappa_is_undefined_where_chance_alone_agrees():
    result = Confusion({("clean", "clean"): 3})
    assert (result.accuracy, result.kappa) == (1.0, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "cannot be read"),
        ("{}", "got a dict, needs a list"),
        ("[{id: a, wrong: b, answers: [{label: odd}]}]", "a-0: label = 'odd', allowed are good, "),
        (
            "[{id: a, language: en, kind: k, held_out: false, wrong: b, answers: [{label: good, after: x}]}]",
            "after = 'x'",
        ),
        (
            "[{id: a, language: en, kind: k, held_out: false, wrong: b, answers: [{label: good, replace: [[x, y]]}]}]",
            "replace = 'x' does not stand in the rollout",
        ),
    ],
)
def test_broken_labels_are_named(tmp_path, content, message):
    (tmp_path / "labels.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_constructions(tmp_path / "labels.yaml")
