"""What the page's file holds; tests/browser opens it."""

import base64
import gzip
import io
import json
import re

import pytest
from rich.console import Console

from tapo.inspection.options import InspectOptions
from tapo.inspection.page import print_report, units
from tapo.inspection.page import write_page as write
from tests.stand_ins.dumps import construction, trained, write_dump

HOSTILE = "</script><script>alert(1)</script> & <!--"


def write_page(dump, html, **options):
    return write(InspectOptions(dump=dump, html=html, **options), html)


def contents(path):
    """(index, texts) as the page's script reads them."""
    html = path.read_text()
    index = json.loads(re.search(r'<script type="application/json" id="index">(.*?)</script>', html)[1])
    chunks = re.findall(r'<script type="text/plain" class="chunk">(.*?)</script>', html)
    texts = []
    for chunk in chunks:
        fields = json.loads(gzip.decompress(base64.b64decode(chunk)))
        texts += [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]
    return index["rows"], texts


def test_a_trajectory_is_on_the_page_with_its_weights(tmp_path):
    report = write_page(write_dump(tmp_path, [construction()], [trained(step=3)]), tmp_path / "new" / "page.html")
    assert (report.shown, report.fitting, report.total, report.unshaded) == (1, 1, 1, 0)
    assert report.size == (tmp_path / "new" / "page.html").stat().st_size
    [line], [text] = contents(tmp_path / "new" / "page.html")
    assert line == {
        "step": 1,
        "outcome": "trained",
        "reward": 1.0,
        "correct": True,
        "kept": 2,
        "check": None,
        "excerpt": "Q",
    }
    assert text["wrong"][: text["prefix_units"]] == "P1 "
    assert (text["reflection"], text["correction"], text["analysis"], text["answer"]) == (
        "R1 ",
        "C1",
        "diagnosis",
        None,
    )
    assert (text["weights"], text["lengths"]) == ("1 0.012 10 0.5 0.25", "2 1 3 2 0")
    assert (text["trained_step"], text["advantage"]) == (3, 0.5)


def test_verdicts_of_a_check_are_counted_and_chosen_by_where_there_are_any(tmp_path):
    page = tmp_path / "page.html"
    records = [construction(check="false_step"), *(construction(check="") for _ in range(3)), construction()]
    write_page(write_dump(tmp_path, records), page)
    assert [line["check"] for line in contents(page)[0]] == ["false_step", *["no_objection"] * 3, None]
    html = page.read_text()
    assert '<option value="false_step">false_step</option>' in html and 'data-check="no_objection"' in html
    assert "<td>3</td><td>75.0%</td>" in html
    write_page(write_dump(tmp_path, [construction()]), page)
    assert 'id="check"' not in page.read_text()


def test_offsets_count_utf16_units_as_the_script_does(tmp_path):
    record = construction(prefix="😀 ", wrong="😀 tail", token_lengths=[0, 1, 1, 3, 2])
    write_page(write_dump(tmp_path, [record], [trained()]), tmp_path / "page.html")
    _, [text] = contents(tmp_path / "page.html")
    assert (text["prefix_units"], text["lengths"]) == (3, "0 2 1 3 2")
    assert units("a😀\ud800") == 4


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, []),
        ({"token_lengths": None}, [trained()]),
        ({"token_lengths": [8]}, [trained()]),
        ({"token_lengths": [2, 1, 3, 3, 0]}, [trained()]),
    ],
    ids=["no row", "no lengths", "another number of tokens", "another text"],
)
def test_weights_that_cannot_be_laid_along_the_text_are_left_out_and_counted(tmp_path, fields, rows):
    report = write_page(write_dump(tmp_path, [construction(**fields)], rows), tmp_path / "page.html")
    _, [text] = contents(tmp_path / "page.html")
    assert text["weights"] is None and report.unshaded == 1
    assert "1 trained trajectories come without token weights" in (tmp_path / "page.html").read_text()


def test_more_than_the_limit_are_thinned_out_and_the_page_and_the_terminal_say_so(tmp_path):
    records = [construction(step, f"u{step}-{i}") for step in (1, 2, 3) for i in range(5)]
    records.append(construction(3, "leaked", outcome="leak"))
    write_dump(tmp_path, records, end='{"st')
    pages = []
    for seed in (0, 0, 1):
        report = write_page(tmp_path, tmp_path / "page.html", outcome="trained", limit=6, seed=seed)
        pages.append(contents(tmp_path / "page.html"))
    assert (report.shown, report.fitting, report.total) == (6, 15, 16)
    assert [line["step"] for line in pages[0][0]] == [1, 1, 2, 2, 3, 3]
    assert pages[0] == pages[1] != pages[2]
    words = " ".join((tmp_path / "page.html").read_text().split())
    assert "6 of 16 attempted constructions; 15 of them passed the filters of the command; those shown are" in words
    assert "1 half-written last line(s) skipped: constructions-host-1.jsonl" in words
    out = Console(file=io.StringIO(), width=160)
    print_report(report, tmp_path / "page.html", out)
    assert "6 trajectories of 15 that fit, 16 in all" in out.file.getvalue()
    assert "1 half-written last line(s) skipped: constructions-host-1.jsonl" in out.file.getvalue()


def test_no_text_of_a_record_can_end_its_element_and_none_is_lost(tmp_path):
    hostile = {name: HOSTILE for name in ("query", "reflection", "correction", "correct", "answer")}
    records = [construction(**hostile), construction(outcome="leak") | hostile]
    records[1] |= dict.fromkeys(("reflection", "correction"))
    write_page(write_dump(tmp_path, records), tmp_path / "page.html", title=HOSTILE)
    lines, texts = contents(tmp_path / "page.html")
    assert [line["excerpt"] for line in lines] == [HOSTILE, HOSTILE]
    assert texts[0]["reflection"] == texts[0]["query"] == texts[1]["answer"] == HOSTILE
    html = (tmp_path / "page.html").read_text()
    assert "alert(1)" in html and "<script>alert(1)" not in html


def test_the_page_names_no_other_resource(tmp_path):
    write_page(write_dump(tmp_path, [construction()]), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in html
    assert re.findall(r"https?://|@import|url\(|<(?:img|iframe|object|embed)\b|\bsrc=", html) == []
    assert re.findall(r'href="([^"]*)"', html) == ["data:,"]


def test_numbers_that_json_does_not_know_are_shown_as_they_are(tmp_path):
    record = construction(reward=float("nan"), query=[{"type": "text", "text": "Q"}])
    write_page(write_dump(tmp_path, [record], [trained(advantage=float("inf"))]), tmp_path / "page.html")
    [line], [text] = contents(tmp_path / "page.html")
    assert (line["reward"], line["correct"], text["advantage"]) == ("nan", False, "inf")
    assert text["query"] == '[{"type": "text", "text": "Q"}]'


def test_a_prefix_that_is_not_the_wrong_rollouts_own_is_an_error(tmp_path):
    write_dump(tmp_path, [construction(), construction(prefix="P2 ")])
    with pytest.raises(ValueError, match=r"constructions-host-1\.jsonl, line 2: field 'prefix' is 'P2 ', no beginning"):
        write_page(tmp_path, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
