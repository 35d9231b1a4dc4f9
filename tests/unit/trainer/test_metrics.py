"""The metrics of a step, from counts and rows made by hand."""

import math

import torch

from tapo.rollout.group_report import GroupReport
from tapo.trainer.metrics import check_metrics, ref_metrics, step_metrics
from tapo.trainer.ref_advantage import RefRow
from tests.stand_ins.dumps import construction_record

CHECK = "tapo/construct/check/"


def record(check=None, outcome="trained", **fields):
    reached = ["attempted", "parsed", "spliced"][: 3 if outcome == "trained" else 1]
    return construction_record(outcome=outcome, check=check, reached=reached, wrong_tokens=4, tokens=5, **fields)


def report_of(*records):
    report = GroupReport()
    for one in records:
        report.count(one)
    return GroupReport.total_of([GroupReport.from_tag(report.to_tag()), GroupReport()])


def test_a_check_counts_what_it_says_of_spliced_constructions_and_the_share_of_correct_ones_it_lets_pass():
    report = report_of(
        *(record("", is_correct=True) for _ in range(3)),
        record("false_step", is_correct=True),
        record("took_back_right", is_correct=False),
        record("", is_correct=False),
        record("error", is_correct=True),
        record(outcome="leak", is_correct=None),
    )
    assert check_metrics(report) == {
        CHECK + "false_step": 1,
        CHECK + "took_back_right": 1,
        CHECK + "error": 1,
        CHECK + "objected": 2,
        CHECK + "faithful_share": 3 / 4,
    }


def test_a_run_with_a_check_has_its_figures_at_each_step_and_one_without_has_none():
    figures = check_metrics(GroupReport())
    assert list(figures) == [CHECK + "error", CHECK + "objected", CHECK + "faithful_share"]
    assert math.isnan(figures[CHECK + "faithful_share"]) and figures[CHECK + "objected"] == 0
    for checks, expected in ((True, set(figures)), (False, set())):
        keys = step_metrics(GroupReport(), [], rollout_tokens=1, checks=checks)
        assert {key for key in keys if key.startswith(CHECK)} == expected


def test_repeated_lines_and_sizes_of_edits_are_averaged_over_spliced_constructions():
    again = {"prefix": "1+1=3\n", "reflection": "Wait.\n", "wrong": "1+1=3\n"}
    report = report_of(
        record(correction="1+1=3\n2", **again, prefix_length=1),
        record(correction="1+1=2\n2", **again, prefix_length=3),
        record(outcome="leak"),
    )
    metrics = step_metrics(report, [], rollout_tokens=1)
    assert metrics["tapo/construct/repeated_line_share"] == 1 / 2
    assert metrics["tapo/construct/edit_size/mean"] == (4 / 3 + 2 / 1) / 2
    assert not {key for key in step_metrics(GroupReport(), [], rollout_tokens=1) if "edit_size" in key}


def test_the_final_answers_weight_is_over_the_tokens_of_rows_that_mark_one():
    def row(weights, **answer):
        numbers = torch.tensor(weights)
        return RefRow("u_ref", "u_0_0", 1, 0, 1.0, 0.5, numbers, -numbers, numbers, **answer)

    rows = [row([1.0, 0.5, 0.25, 0.75, 9.0], answer_begin=2, answer_length=2), row([1.0, 3.0])]
    assert ref_metrics(rows)["tapo/ots/weight/final_answer/mean"] == 0.5
    rows.append(row([1.0, 5.0], answer_begin=1, answer_length=1))
    assert ref_metrics(rows)["tapo/ots/weight/final_answer/mean"] == 2.0
    assert "tapo/ots/weight/final_answer/mean" not in ref_metrics([row([1.0, 3.0])])
