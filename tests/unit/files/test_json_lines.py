import math

import pytest

from tapo.files.json_lines import read_at, read_json_lines


def written(folder, text):
    path = folder / "records.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_records_come_with_their_places_and_can_be_read_again(tmp_path):
    path = written(tmp_path, '{"a": "ä"}\n\n{"a": 2}\n')
    found = list(read_json_lines(path))
    assert [(line.number, line.offset, record) for line, record in found] == [(1, 0, {"a": "ä"}), (3, 13, {"a": 2})]
    assert [read_at(line) for line, _ in found] == [{"a": "ä"}, {"a": 2}]
    assert str(found[1][0]) == f"{path}, line 3"


def test_reading_goes_on_where_it_ended(tmp_path):
    path = written(tmp_path, '{"a": 1}\n{"a": 2}\n')
    [(first, _), (second, _)] = read_json_lines(path)
    assert [record for _, record in read_json_lines(path, start=first.end)] == [{"a": 2}]
    assert list(read_json_lines(path, start=second.end)) == []


@pytest.mark.parametrize("end", ['{"a": 2', '{"a": 2\n', '{"a": 2\n\n'])
def test_a_half_written_last_line_is_left_out_and_said(tmp_path, end):
    path, told, seen = written(tmp_path, '{"a": 1}\n' + end), [], []
    found = read_json_lines(path, on_half_written=told.append, on_line=seen.append)
    assert [record for _, record in found] == [{"a": 1}]
    assert told == [path] and b"".join(seen) == path.read_bytes()


def test_a_number_that_only_the_standard_library_reads(tmp_path):
    [(_, record)] = read_json_lines(written(tmp_path, '{"a": NaN}\n'))
    assert math.isnan(record["a"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a": 1}\n{"a"\n{"a": 2}\n', "line 2 is no JSON"),
        ('{"a": 1}\n{"a', "line 2 is no JSON"),
        ('{"a": 1}\n[1]\n', "line 2: got list, needs a JSON object"),
        (b'{"a": "\xff"}\n{}\n', "line 1 is no JSON"),
    ],
)
def test_what_is_broken_is_named(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        list(read_json_lines(written(tmp_path, text)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent.jsonl cannot be read"):
        list(read_json_lines(tmp_path / "absent.jsonl"))
