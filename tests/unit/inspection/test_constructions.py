"""Reading, filtering, thinning out and joining the constructions of a dump."""

from pathlib import Path

import pytest

from tapo.inspection.chart import line_chart, ticks
from tapo.inspection.constructions import (
    Entry,
    TrainedRows,
    read_constructions,
    spread_over_steps,
)
from tapo.inspection.options import InspectOptions
from tapo.records import TrainedRecord
from tests.stand_ins.dumps import construction, construction_record, trained, write_dump


def asked(**options):
    """All of a dump, but for what the options leave out."""
    return InspectOptions(**{"dump": Path("dump"), "html": Path("page.html"), **options})


def test_the_funnel_counts_what_each_construction_reached(tmp_path):
    records = [
        construction(step=2),
        construction(step=2, reward=0.25),
        construction(step=2, outcome="leak", answer=construction()["answer"]),
        construction(step=1, outcome="bad_format"),
        construction(step=1) | {"outcome": "wrong_answer", "reward": 0.0},
    ]
    found = read_constructions(write_dump(tmp_path, records, end='{"step": 3'))
    assert found.funnel == {
        1: {"attempted": 2, "parsed": 1, "spliced": 1},
        2: {"attempted": 3, "parsed": 3, "spliced": 2, "correct": 1, "trained": 2},
    }
    assert found.reasons == {"leak": 1, "bad_format": 1, "wrong_answer": 1}
    assert [path.name for path in found.records.unfinished] == ["constructions-host-1.jsonl"]
    assert read_constructions(tmp_path, reward_threshold=0.2).funnel[2]["correct"] == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (asked(), "dabc"),
        (asked(outcome="trained"), "dbc"),
        (asked(outcome="rejected"), "a"),
        (asked(reason="leak"), "a"),
        (asked(reason="too_long"), ""),
        (asked(correct=True), "db"),
        (asked(step="2-3"), "ab"),
        (asked(step="1-3", outcome="trained", correct=True), "db"),
    ],
)
def test_filters_combine_and_keep_the_order_of_steps(tmp_path, wanted, expected):
    records = [
        construction(2, "a", outcome="leak"),
        construction(3, "b"),
        construction(4, "c", reward=0.0),
        construction(1, "d"),
    ]
    found = read_constructions(write_dump(tmp_path, records))
    assert "".join(entry.key[0] for entry in found.chosen(wanted)) == expected
    [leak] = found.chosen(asked(reason="leak"))
    assert found.load(leak) == construction_record(2, "a", outcome="leak")


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [("false_step", "b"), ("no_objection", "a"), ("objected", "b"), ("error", "c"), ("other", ""), (None, "abcd")],
)
def test_a_verdict_of_the_check_is_a_filter_and_is_counted(tmp_path, verdict, expected):
    records = [construction(1, name, check=said) for name, said in zip("abc", ("", "false_step", "error"), strict=True)]
    found = read_constructions(write_dump(tmp_path, [*records, construction(1, "d")]))
    assert "".join(entry.key[0] for entry in found.chosen(asked(verdict=verdict))) == expected
    assert found.checks == {"no_objection": 1, "false_step": 1, "error": 1}


def test_a_filter_that_cannot_work_is_named_with_what_is_allowed():
    with pytest.raises(ValueError, match=r"outcome = 'kept' .* allowed are trained, rejected, all"):
        asked(outcome="kept")
    with pytest.raises(ValueError, match=r"reason = 'leek' .* allowed are bad_format, .*, leak, .*, wrong_answer"):
        asked(reason="leek")
    with pytest.raises(ValueError, match=r"reason = 'leak' .* outcome = 'trained': allowed is rejected"):
        asked(outcome="trained", reason="leak")


def test_steps_are_one_or_a_range():
    assert asked(step="7").steps == (7, 7) and asked(step="7-12").steps == (7, 12) and asked().steps is None
    for text in ("", "-", "7-", "-7", "12-7", "a", "7-12-13", "1.5"):
        with pytest.raises(ValueError, match=f"step = '{text}' cannot work: needs a step such as 7"):
            asked(step=text)


def test_a_folder_without_constructions_and_a_record_without_a_field_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"no constructions in .*; set algorithm\.tapo\.dump_dir"):
        read_constructions(tmp_path)
    broken = construction()
    del broken["prefix"]
    write_dump(tmp_path, [construction(), broken])
    with pytest.raises(ValueError, match=r"constructions-host-1\.jsonl, line 2: field 'prefix' is missing, got step, "):
        read_constructions(tmp_path)


def test_trained_rows_join_by_key_and_only_where_it_is_unambiguous(tmp_path):
    records = [construction(name=name) for name in ("a", "b", "c", "c", "d")] + [construction(name="e", outcome="leak")]
    rows = [trained(name) for name in ("a", "b", "b", "c", "e")] + [trained("d", constructed=False)]
    found = read_constructions(write_dump(tmp_path, records, rows))
    joined = TrainedRows(tmp_path, found.entries)
    rows = [joined.of(entry) for entry in found.entries]
    assert rows == [TrainedRecord(**trained("a")), None, None, None, None, None]
    assert joined.ambiguous == {"b_ref_8_0", "c_ref_8_0"}


def test_a_constructed_row_without_weights_is_named(tmp_path):
    found = read_constructions(write_dump(tmp_path, [construction()], [trained(weights=None)]))
    with pytest.raises(ValueError, match=r"trained-host-1\.jsonl, line 1: field 'weights' is None, allowed is a list"):
        TrainedRows(tmp_path, found.entries).of(found.entries[0])


def entries(counts):
    return [Entry(None, step, f"{step}-{i}", "trained", True) for step, n in counts.items() for i in range(n)]


@pytest.mark.parametrize(
    ("counts", "limit", "expected"),
    [
        ({1: 2, 2: 3}, 5, {1: 2, 2: 3}),
        ({1: 10, 2: 10, 3: 10}, 6, {1: 2, 2: 2, 3: 2}),
        ({1: 1, 2: 10, 3: 10}, 7, {1: 1, 2: 3, 3: 3}),
        ({step: 2 for step in range(10)}, 2, {0: 1, 5: 1}),
    ],
)
def test_a_choice_is_spread_over_steps_and_fills_the_limit(counts, limit, expected):
    chosen = spread_over_steps(entries(counts), limit, seed=0)
    steps = [entry.step for entry in chosen]
    assert {step: steps.count(step) for step in steps} == expected
    assert len(set(chosen)) == len(chosen) == limit


def test_the_seed_alone_decides_the_choice():
    many = entries({1: 50, 2: 50})
    assert spread_over_steps(many, 10, seed=1) == spread_over_steps(many, 10, seed=1)
    assert spread_over_steps(many, 10, seed=1) != spread_over_steps(many, 10, seed=2)


def test_ticks_are_round_and_cover_the_range():
    assert ticks(0, 1) == [0, 1]
    assert ticks(0, 23) == [0, 5, 10, 15, 20, 25]
    assert ticks(1, 500) == [0, 100, 200, 300, 400, 500]


def test_a_chart_begins_at_zero_and_ends_at_its_largest_count():
    chart = line_chart({1: {"a": 10, "b": 5}, 3: {"a": 0}}, ["a", "b"])
    (left, top), (right, bottom) = chart.lines[0].points
    assert (left, right) == (chart.left, chart.right)
    assert (top, bottom) == (chart.y_ticks[-1].position, chart.y_ticks[0].position)
    assert chart.lines[1].points == [(left, (top + bottom) / 2), (right, bottom)]
    assert chart.lines[0].path == f"{left:g},{top:g} {right:g},{bottom:g}"
    assert line_chart({4: {"a": 1}}, ["a"]).lines[0].points[0][0] == (left + right) / 2
