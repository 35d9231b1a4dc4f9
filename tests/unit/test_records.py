import json

import pytest

from tapo.records import DumpReader, JsonLines


def test_what_is_written_is_read_with_its_place(tmp_path):
    writer = JsonLines(str(tmp_path), "trained")
    records = [{"step": 1, "text": "a\u2028∈\n"}, {"step": 2, "text": ""}]
    for record in records:
        writer.write(record)
    reader = DumpReader(tmp_path, "trained", {"step": int, "text": str})
    assert list(reader) == records and reader.unfinished == []
    places = [place for place, _ in reader.placed()]
    assert [str(place).rsplit(", ", 1)[1] for place in places] == ["line 1", "line 2"]
    assert [reader.load(place) for place in reversed(places)] == records[::-1]


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_half_written_last_line_is_skipped_and_counted_wherever_it_was_cut(tmp_path, cut):
    path = tmp_path / "trained-host-1.jsonl"
    line = json.dumps({"t": "∈∈"}, ensure_ascii=False).encode()
    assert len(line) == 15
    path.write_bytes(b'{"t": "whole"}\n' + line[:cut])
    reader = DumpReader(tmp_path, "trained")
    for _ in range(2):
        assert list(reader) == [{"t": "whole"}]
        assert reader.unfinished == [path]


def test_a_last_line_that_lacks_its_newline_alone_counts(tmp_path):
    (tmp_path / "trained-host-1.jsonl").write_text('{"t": 1}')
    reader = DumpReader(tmp_path, "trained")
    assert list(reader) == [{"t": 1}] and reader.unfinished == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"step": 1, "rew', r"trained-host-1\.jsonl, line 2: no JSON object \("),
        ("[1]", r"line 2: no JSON object but a value of type list"),
        ("", r"line 2: no JSON object"),
        ('{"step": 1}', r"line 2: field 'reward' is missing, got step"),
        ("{}", r"line 2: field 'reward' is missing, got none"),
        ('{"reward": "high"}', r"line 2: field 'reward' is 'high', allowed is int \| None"),
    ],
)
def test_a_broken_line_is_named_with_file_line_and_field(tmp_path, line, message):
    (tmp_path / "trained-host-1.jsonl").write_text(f'{{"reward": null}}\n{line}\n{{"reward": 3}}\n')
    with pytest.raises(ValueError, match=message):
        list(DumpReader(tmp_path, "trained", {"reward": int | None}))
