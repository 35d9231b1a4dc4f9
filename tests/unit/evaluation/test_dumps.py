import hashlib
import json

import pytest

from tapo.core.phrases import load_detector
from tapo.evaluation import dumps
from tapo.evaluation.dumps import read_dump
from tapo.evaluation.step_report import majority_votes, ratios_of

DETECTOR = load_detector()


def row(problem="p", correct=1, output="\\boxed{1}", **others):
    return {"input": problem, "output": output, "gts": "1", "score": float(correct), "step": 0, **others}


def write(path, rows, end="\n"):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in rows) + end)
    return path


def read(tmp_path, rows, end="\n", **options):
    return read_dump(write(tmp_path / "0.jsonl", rows, end), DETECTOR, **options)


def only(dump):
    (samples,) = dump.benchmarks.values()
    return samples


def test_a_dump_becomes_columns_and_a_fingerprint(tmp_path):
    rows = [row("a", 1), row("a", 0, "Wait, no."), row("b", 1, "four")]
    dump = read(tmp_path, rows)
    samples = only(dump)
    assert samples.problem.tolist() == [0, 0, 1]
    assert samples.correct.tolist() == [True, False, True]
    assert samples.reflects.tolist() == [False, True, False]
    assert samples.length.tolist() == [9, 9, 4] and dump.fields["length unit"] == "characters"
    assert samples.answer.tolist() == [0, -1, -1]
    assert "truncated" not in samples and "unparsable" not in samples
    assert dump.sha256 == hashlib.sha256((tmp_path / "0.jsonl").read_bytes()).hexdigest()
    assert dump.notes == () and dump.fields["correct"] == "score"


def test_acc_goes_before_score_and_lengths_and_flags_are_taken_where_dumped(tmp_path):
    rows = [row(correct=-1, acc=True, response_tokens=7, truncated=1, unparsable=0, pred="1")]
    dump = read(tmp_path, rows)
    samples = only(dump)
    assert samples.correct.tolist() == [True]
    assert (samples.length.tolist(), dump.fields["length unit"]) == ([7], "tokens")
    assert (samples.truncated.tolist(), samples.unparsable.tolist()) == ([True], [False])


def test_a_flag_that_one_row_lacks_is_unknown_rather_than_zero(tmp_path):
    samples = only(read(tmp_path, [row(truncated=0, unparsable=0), row(truncated=None, unparsable=0)]))
    assert "truncated" not in samples and samples.unparsable.tolist() == [False, False]


@pytest.mark.parametrize("half", ['{"input": "a", "out', '{"input": "na\u00ef'])
def test_a_half_written_last_line_is_counted_and_left_out(tmp_path, half):
    dump = read(tmp_path, [row(), half], end="")
    assert len(only(dump)) == 1
    assert dump.notes == ("half-written last line left out: 1",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), "{broken", row()], r"0\.jsonl, line 2 is no JSON"),
        ([row(), "[1]"], r"line 2: got list, needs a JSON object"),
        ([{"input": "a", "score": 1.0}], r"line 1: field output is missing; got input, score"),
        ([row(acc=1), row()], r"line 2: field acc is missing"),
        ([{"input": "a", "output": "b"}], r"line 1: field score is missing"),
        ([row() | {"output": None}], r"line 1: output = None cannot work: needs a text"),
        ([row(response_tokens=3), row(response_tokens=None)], r"line 2: response_tokens = None cannot work"),
        ([row(score=None)], r"got 1 rows, none of them usable"),
        (["{"], r"got 0 rows, none of them usable"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, rows)


def test_rows_without_a_finite_score_are_counted_and_left_out(tmp_path):
    rows = [row(), row(score=None), json.dumps(row(score=float("nan"))), json.dumps(row(score=float("inf")))]
    assert "NaN" in rows[2]
    dump = read(tmp_path, rows)
    assert only(dump).correct.tolist() == [True]
    assert dump.notes == ("rows without a finite score left out: 3",)


def test_scores_between_are_cut_at_the_threshold_and_counted(tmp_path):
    dump = read(tmp_path, [row(score=0.7), row(score=0.3)], reward_threshold=0.5)
    assert only(dump).correct.tolist() == [True, False]
    assert dump.notes == ("rows with score other than 0 and 1, correct if > 0.5: 2",)


def test_data_sources_are_kept_apart_and_equal_prompts_with_other_truths_too(tmp_path):
    rows = [row(data_source="x"), row(data_source="y"), row(data_source="y") | {"gts": "2"}]
    dump = read(tmp_path, rows)
    assert {name: samples.problem.nunique() for name, samples in dump.benchmarks.items()} == {"x": 1, "y": 2}


def test_only_the_last_output_of_a_session_counts(tmp_path):
    uids = ["u_0_0", "u_0_1", "u_0_2", "u_1_0", "u_2_0"]
    rows = [row(f"turn {uid[-1]}", output="x" * index, uid=uid) for index, uid in enumerate(uids)]
    dump = read(tmp_path, rows)
    assert only(dump).length.tolist() == [2, 3, 4]
    assert only(dump).problem.nunique() == 1
    assert dump.notes == ("earlier outputs of multi-output sessions left out: 2",)


def test_a_problem_asked_twice_is_noted(tmp_path):
    dump = read(tmp_path, [row(uid=uid) for uid in ("u_0_0", "u_1_0", "v_0_0", "v_1_0")])
    assert only(dump).problem.tolist() == [0] * 4
    assert dump.notes == ("problems asked more than once, their samples taken together: 1",)


def test_token_counts_come_in_batches_and_in_order(tmp_path, byte_tokenizer, monkeypatch):
    monkeypatch.setattr(dumps, "BATCH", 2)
    monkeypatch.setattr(dumps, "load_tokenizer", {"a name": byte_tokenizer}.get)
    outputs = ["a", "sum of the", "", "Step 1: 28*3=84", "x y"]
    dump = read(tmp_path, [row(output=output) for output in outputs], tokenizer="a name")
    assert only(dump).length.tolist() == [len(byte_tokenizer.encode(output)) for output in outputs]
    assert dump.fields["length unit"] == "tokens"


def test_a_tokenizer_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"--tokenizer = .* cannot be loaded"):
        read(tmp_path, [row()], tokenizer=str(tmp_path))


def figures_of(dump):
    """(figure of each problem's sums, all ratios, notes)."""
    ratios, notes = ratios_of(only(dump), dump.problems)
    return ratios.numerators_PF / ratios.denominators_PF, ratios, notes


def voted(tmp_path, *rows):
    return majority_votes(only(read(tmp_path, [row(pred=pred, correct=correct) for pred, correct in rows]))).tolist()


def test_majority_votes_share_ties_and_ignore_the_unparsable(tmp_path):
    assert voted(tmp_path, ("5", 1), ("5", 1), ("6", 0)) == [1.0]
    assert voted(tmp_path, ("5", 1), ("6", 0), ("7", 0)) == [pytest.approx(1 / 3)]
    assert voted(tmp_path, ("5", 1), ("", 0), ("", 0), (None, 0)) == [1.0]
    assert voted(tmp_path, ("", 0), (None, 0)) == [0.0]
    assert voted(tmp_path, ("5", 1), ("5", 0)) == [0.5]


def test_without_pred_the_last_box_votes_and_without_boxes_nobody_knows(tmp_path):
    boxes = [row(output="\\boxed{2}", correct=0), row(output="\\boxed{1}"), row(output="\\boxed{3} \\boxed{ $1$ }")]
    assert majority_votes(only(read(tmp_path, boxes))).tolist() == [1.0]
    figures, _, notes = figures_of(read(tmp_path, [row(output="#### 1")]))
    assert "majority" not in figures
    assert "majority vote unknown: the dump has neither `pred` nor answers in \\boxed{}" in notes


def test_reflection_counts_are_the_two_by_two_table(tmp_path):
    outputs = [("a", 1), ("a", 1), ("a", 0), ("Hmm, a", 1), ("Hmm, a", 0), ("Hmm, a", 0)]
    dump = read(tmp_path, [row(output=output, correct=correct) for output, correct in outputs])
    expected = {"no_reflection": {"correct": 2, "wrong": 1}, "reflection": {"correct": 1, "wrong": 2}}
    figures, ratios, _ = figures_of(dump)
    assert ratios.reflection_counts() == expected
    assert figures[["dsr", "err", "reflections"]].to_numpy().tolist() == [[2 / 3, 1 / 3, 1 / 2]]


def test_unequal_samples_limit_k_and_weigh_problems_equally(tmp_path):
    rows = [row("a", correct) for correct in (1, 0, 0, 0)] + [row("b", 1), row("b", 1)]
    figures, _, notes = figures_of(read(tmp_path, rows))
    assert [name for name in figures if name.startswith("pass@")] == ["pass@1", "pass@2"]
    assert figures[["accuracy", "pass@1", "pass@2"]].mean().tolist() == [0.625, 0.625, 0.75]
    assert notes[0] == "samples a problem differ: 2 to 4; 1 of 2 problems have fewer than 4"
    assert notes[1].startswith("Pass@4, Pass@5, Pass@8, Pass@16 left out: needs as many samples")


def test_a_problem_that_lost_all_its_rows_is_left_out(tmp_path):
    dump = read(tmp_path, [row("a"), row("b", score=None), row("c")])
    assert only(dump).problem.tolist() == [0, 1] and len(dump.problems) == 2
