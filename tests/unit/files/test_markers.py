"""A stage is done once, and done again where something changed."""

import io

import pytest
from rich.console import Console

from tapo.files.markers import is_complete, marker_of, report_of, stage

FACTS = {"stage": "test", "options": {"n": 1}}


def console():
    return Console(file=io.StringIO(), width=300)


def test_a_stage_is_complete_only_when_it_ended_well(tmp_path):
    out = tmp_path / "out.txt"
    assert not is_complete(out, FACTS, console())
    with pytest.raises(RuntimeError), stage(out, FACTS):
        out.write_text("half")
        raise RuntimeError
    assert not is_complete(out, FACTS, console())
    with stage(out, FACTS) as report:
        out.write_text("whole")
        report["rows"] = 3
    assert is_complete(out, FACTS, console()) and report_of(out) == {"rows": 3}
    out.unlink()
    assert not is_complete(out, FACTS, console())


def test_other_inputs_or_another_output_are_told_by_key(tmp_path):
    out, terminal = tmp_path / "folder", console()
    out.mkdir()
    with stage(out, FACTS):
        (out / "a").write_text("1")
    assert not is_complete(out, FACTS | {"options": {"n": 2}}, terminal)
    (out / "a").write_text("12")
    assert not is_complete(out, FACTS, terminal)
    text = terminal.file.getvalue()
    assert "is made again: options.n = 1 then, 2 now" in text and "is made again: bytes = 1 then, 2 now" in text
    marker_of(out).write_text("{")
    with pytest.raises(ValueError, match=r"folder\.stage\.json is damaged"):
        is_complete(out, FACTS, terminal)


def test_a_stage_that_is_begun_again_is_no_longer_complete(tmp_path):
    out = tmp_path / "out.txt"
    with stage(out, FACTS):
        out.write_text("one")
    with pytest.raises(RuntimeError), stage(out, FACTS | {"seed": 2}):
        out.write_text("two")
        raise RuntimeError
    assert not is_complete(out, FACTS, console())
