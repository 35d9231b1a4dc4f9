import json

import pytest

from tapo.comparison.costs import Cost, Costs, cost_of

RL = {
    "response_length/mean": 54.0666,
    "prompt_length/mean": 24.6667,
    "perf/total_num_tokens": 4724,
    "timing_s/step": 3.0,
}
"""60 rows, as a run of verl logged them."""


def write(folder, name, *steps):
    (folder / name).write_text("".join(json.dumps({"step": s, "data": d}) + "\n" for s, d in steps))


def test_rollouts_tokens_are_rows_times_their_mean_length():
    assert cost_of(RL, None) == pytest.approx(Cost(60 * 54.0666, 60 * 54.0666, 3.0), rel=1e-4)


def test_constructions_are_generated_and_constructed_rows_trained():
    told = RL | {"tapo/tokens/construct_generated": 700.0, "tapo/tokens/construct_trained": 90.0}
    assert cost_of(told, None) == pytest.approx(Cost(3244 + 700, 3244 + 90, 3.0), rel=1e-4)


def test_supervised_training_generates_nothing_and_a_program_may_know_better():
    assert cost_of({"train/global_tokens": 500.0}, None) == Cost(0.0, 500.0, 0.0)
    known = RL | {"tapo/tokens/generated": 10.0, "tapo/tokens/trained": 20.0}
    assert cost_of(known, None) == Cost(10.0, 20.0, 3.0)


def test_groups_that_dynamic_sampling_discards_count_as_generated(tmp_path):
    discarded = RL | {
        "training/filter_groups/evicted_samples": 3,
        "training/filter_groups/discarded_surplus_samples": 1,
    }
    assert cost_of(discarded, 8).generated == pytest.approx((60 + 32) * 54.0666, rel=1e-4)
    assert cost_of(discarded, 8).trained == pytest.approx(60 * 54.0666, rel=1e-4)
    write(tmp_path, "metrics.jsonl", (1, discarded))
    assert Costs(tmp_path, 8).notes == [] and not Costs(tmp_path, 8).hold_those_of_the_data
    (note,) = Costs(tmp_path, None).notes
    assert note.startswith("4 groups were generated and discarded")


def test_of_steps_that_were_done_twice_the_last_attempt_counts(tmp_path):
    early, late = {"tapo/tokens/generated": 5.0}, {"tapo/tokens/generated": 7.0}
    write(tmp_path, "metrics.1.jsonl", (0, {"val": 1.0}), (1, early), (2, early), (3, early))
    write(tmp_path, "metrics.2.jsonl", (2, {"val": 1.0}), (3, late))  # goes on from step 2
    write(tmp_path, "metrics.jsonl", (3, {"val": 1.0}), (4, late))
    costs = Costs(tmp_path, None)
    assert [costs.by(step).generated for step in (0, 1, 2, 3, 4)] == [0, 5, 10, 17, 24]


def test_an_sft_on_a_runs_data_has_generated_what_that_run_had_and_trained_its_own_chats(tmp_path):
    first, second = RL | {"sft/tokens": 30.0}, RL | {"sft/tokens": 70.0, "sft/tokens_generated": 1000.0}
    write(tmp_path, "metrics.jsonl", (1, RL), (2, first), (3, RL), (4, second))
    costs = Costs(tmp_path, None)
    assert costs.hold_those_of_the_data
    assert [costs.by(step).trained for step in (0, 1, 2, 3, 4)] == [0, 0, 30, 30, 70]
    assert costs.by(2).generated == pytest.approx(2 * 60 * 54.0666, rel=1e-4)
    assert costs.by(4).generated == pytest.approx(4 * 60 * 54.0666 + 1000, rel=1e-4)


def test_a_step_that_was_trained_and_not_logged_counts_as_the_mean_of_the_others_and_it_is_said(tmp_path):
    steps = [{"training/global_step": step, "tapo/tokens/generated": spent} for step, spent in ((1, 4.0), (3, 8.0))]
    write(tmp_path, "metrics.1.jsonl", (0, {"val": 1.0}), (1, steps[0]))
    write(tmp_path, "metrics.jsonl", (2, {"val": 1.0}), (3, steps[1]))  # goes on from step 2
    costs = Costs(tmp_path, None)
    assert [costs.by(step).generated for step in (0, 1, 2, 3)] == [0, 4, 10, 18]
    assert costs.notes == ["killed before step 2 was logged, which counts as much as the others do in the mean"]


def test_a_half_written_line_is_left_out_and_no_metrics_cost_nothing(tmp_path):
    assert Costs(tmp_path, None).by(9) == Cost(0, 0, 0)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "data": {"tapo/tokens/generated": 5}}\n{"step": 2, "da')
    assert Costs(tmp_path, None).by(9).generated == 5
