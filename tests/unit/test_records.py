import errno
import json
from pathlib import Path

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


def test_a_line_that_a_killed_process_cut_is_taken_back_by_the_next_one_of_its_number(tmp_path):
    records = [TrainedRecord(**trained(f"k{i}")) for i in range(2)]
    line = records[0].model_dump_json().encode()
    for cut in (1, 40, len(line) - 1):
        path = RecordWriter(str(tmp_path), TrainedRecord).path
        path.write_bytes(line + b"\n" + line[:cut])
        for record in records:
            RecordWriter(str(tmp_path), TrainedRecord).write(record)
        reader = RecordReader(tmp_path, TrainedRecord)
        assert list(reader) == [records[0], *records] and reader.unfinished == []


def test_a_last_line_that_is_whole_but_for_its_newline_is_kept_and_longer_ones_than_a_look_are_found(tmp_path):
    long = TrainedRecord(**trained("k" * 200_000))
    writer = RecordWriter(str(tmp_path), TrainedRecord)
    for before in (b"", long.model_dump_json().encode() + b"\n"):
        for behind in (b"", long.model_dump_json().encode()):
            writer.path.write_bytes(before + behind)
            RecordWriter(str(tmp_path), TrainedRecord).write(long)
            assert list(RecordReader(tmp_path, TrainedRecord)) == [long] * (1 + bool(before) + bool(behind))
    writer.path.write_bytes(b"{" * 200_000)
    RecordWriter(str(tmp_path), TrainedRecord).write(long)
    assert list(RecordReader(tmp_path, TrainedRecord)) == [long]


def test_what_a_full_disk_does_not_take_is_counted_and_said_once_and_what_it_takes_again_is_whole(
    tmp_path, monkeypatch, caplog
):
    class Full:
        """A file on a disk that is full behind some bytes."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, text):
            self.file.write(text[:20])
            self.file.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

    writer, plain = RecordWriter(str(tmp_path), TrainedRecord), Path.open
    records = [TrainedRecord(**trained(f"k{i}")) for i in range(5)]
    for number, record in enumerate(records):
        with monkeypatch.context() as disk:
            if number in (1, 2):
                disk.setattr(Path, "open", lambda *a, **k: Full(plain(*a, **k)) if "a" in a else plain(*a, **k))
            writer.write(record)
    reader = RecordReader(tmp_path, TrainedRecord)
    assert list(reader) == [records[0], *records[3:]] and reader.unfinished == []
    assert (writer.take_lost(), writer.take_lost()) == (2, 0)
    assert caplog.text.count("records are lost") == 1 and "No space left" in caplog.text


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
