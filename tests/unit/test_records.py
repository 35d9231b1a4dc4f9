import json

import pytest

from tapo.core.attempt import Attempt, Candidate, Response
from tapo.core.decoding import Usage
from tapo.core.reconstruction import Spliced
from tapo.records import ConstructionRecord, RecordReader, RecordWriter, TrainedRecord
from tests.stand_ins.dumps import construction, trained, write_dump


def test_what_is_written_is_read_with_its_place(tmp_path):
    writer = RecordWriter(str(tmp_path), TrainedRecord)
    records = [TrainedRecord(**trained(f"a\u2028\u2208\n{i}", reward=float("inf"))) for i in range(2)]
    for record in records:
        writer.write(record)
    reader = RecordReader(tmp_path, TrainedRecord)
    assert list(reader) == records and reader.unfinished == []
    places = [place for place, _ in reader.placed()]
    assert [str(place).rsplit(", ", 1)[1] for place in places] == ["line 1", "line 2"]
    assert [reader.load(place) for place in reversed(places)] == records[::-1]


def test_without_a_folder_nothing_is_written():
    writer = RecordWriter(None, TrainedRecord)
    writer.write(TrainedRecord(**trained()))
    assert writer.path is None


@pytest.mark.parametrize("cut", range(1, 90, 8))
def test_a_half_written_last_line_is_skipped_and_counted_wherever_it_was_cut(tmp_path, cut):
    write_dump(tmp_path, [], [trained()])
    path = tmp_path / "trained-host-1.jsonl"
    line = json.dumps(trained("\u2208\u2208"), ensure_ascii=False).encode()
    path.write_bytes(path.read_bytes() + line[:cut])
    reader = RecordReader(tmp_path, TrainedRecord)
    for _ in range(2):
        assert list(reader) == [TrainedRecord(**trained())]
        assert reader.unfinished == [path]


def test_a_last_line_that_lacks_its_newline_alone_counts(tmp_path):
    (tmp_path / "trained-host-1.jsonl").write_text(json.dumps(trained()))
    reader = RecordReader(tmp_path, TrainedRecord)
    assert list(reader) == [TrainedRecord(**trained())] and reader.unfinished == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"step": 1, "adv', r"trained-host-1\.jsonl, line 2 is no JSON"),
        ("[1]", r"line 2: got list, needs a JSON object"),
        ('{"step": 1}', r"line 2: field 'key' is missing, got step"),
        ("{}", r"line 2: field 'step' is missing, got none"),
        (
            json.dumps(trained() | {"advantage": "high"}),
            r"line 2: field 'advantage' is 'high', allowed is int \| float",
        ),
        (json.dumps(trained() | {"step": "1"}), r"line 2: field 'step' is '1', allowed is int"),
        (json.dumps(trained() | {"weights": 3}), r"line 2: field 'weights' is 3, allowed is list\[float\] \| None"),
    ],
)
def test_a_broken_line_is_named_with_file_line_and_field(tmp_path, line, message):
    whole = json.dumps(trained())
    (tmp_path / "trained-host-1.jsonl").write_text(f"{whole}\n{line}\n{whole}\n")
    with pytest.raises(ValueError, match=message):
        list(RecordReader(tmp_path, TrainedRecord))


@pytest.mark.parametrize(
    ("fields", "stages"),
    [
        ({}, ["attempted", "parsed", "spliced", "correct", "trained"]),
        ({"reward": 0.0}, ["attempted", "parsed", "spliced", "trained"]),
        ({"outcome": "leak"}, ["attempted", "parsed"]),
        ({"outcome": "bad_format"}, ["attempted"]),
        ({"outcome": "timeout"}, ["attempted"]),
        ({"outcome": "leak", "reached": ["attempted", "parsed", "spliced"]}, ["attempted", "parsed", "spliced"]),
    ],
)
def test_an_older_dump_tells_by_the_outcome_how_far_an_attempt_got(fields, stages):
    assert ConstructionRecord(**construction(**fields)).stages(0.5) == stages


def test_a_record_of_an_attempt_says_what_is_known_of_it():
    wrong, correct = Response(3, [1, 2, 9], "the sum", 0.0), Response(1, [4], "is", 1.0)
    attempt = Attempt(Candidate([{"role": "user", "content": "Q"}], wrong, correct), answer="a", usage=Usage(9, 7, 2))
    attempt.outcome = "leak"
    record = ConstructionRecord.of(attempt, step=2, uid="u", key="u_ref_8_0")
    assert (record.query, record.wrong, record.wrong_session, record.wrong_tokens) == ("Q", "the sum", 3, 3)
    assert (record.prefix, record.has_reflection, record.reached, record.outcome) == (None, None, ["attempted"], "leak")
    attempt.spliced = Spliced([0, 1, 2], 2, " not", prefix="the sum", correction=" so", has_reflection=True)
    record = ConstructionRecord.of(attempt, step=2, uid="u", key="u_ref_8_0")
    assert (record.trajectory, record.prefix_length, record.tokens) == ("the sum not so", 2, 3)
    assert record.has_reflection is True
    assert ConstructionRecord.of(attempt, step=2, uid="u", key="k", keep_prefix=False).has_reflection is None
