import io
import subprocess
import sys

from rich.console import Console
from typer.testing import CliRunner

from tapo.cli import app
from tapo.inspection.options import InspectOptions
from tapo.inspection.trajectories import print_trajectories
from tests.stand_ins.dumps import construction, trained, write_dump


def console():
    return Console(file=io.StringIO(), width=160)


def printed(dump, **options):
    """(trajectories shown, text) of the terminal's view."""
    out = console()
    number = print_trajectories(InspectOptions(**{"dump": dump, "outcome": "all", **options}), out)
    return number, out.file.getvalue()


def test_a_trajectory_shows_its_segments_the_dropped_tail_and_its_sibling_folded(tmp_path):
    write_dump(tmp_path, [construction(step=2), construction(step=3, outcome="leak")], end="{")
    number, text = printed(tmp_path, outcome="trained")
    assert number == 1
    assert "P1 R1 C1" in text and "step 2 · trained · reward 1 · 2 tokens kept" in text
    dropped = text.index("dropped from the wrong rollout")
    assert dropped < text.index("bad tail") < text.index("correct sibling")
    assert "sibling line 5" in text and "sibling line 6" not in text and "(3 more lines with --full)" in text
    assert "1 of 1 that fit, 2 in all" in text
    assert "1 half-written last line(s) skipped: constructions-host-1.jsonl" in text
    _, text = printed(tmp_path, outcome="trained", full=True)
    assert "sibling line 8" in text and "--full" not in text


def test_what_the_check_said_stands_with_a_trajectory_and_is_counted_under_the_funnel(tmp_path):
    said = [construction(1, check=""), construction(2, check=""), construction(3, check="false_step")]
    write_dump(tmp_path, [*said, construction(4, outcome="leak")])
    number, text = printed(tmp_path, limit=9)
    assert number == 4
    assert "step 3 · trained · reward 1 · 2 tokens kept · check: false_step" in text
    assert "step 1 · trained · reward 1 · 2 tokens kept · check: no_objection" in text
    assert "attempted 4, parsed 4, spliced 3, correct 3, trained 3\ncheck: no_objection 2, false_step 1\n" in text
    assert printed(tmp_path, verdict="objected")[0] == 1
    write_dump(tmp_path, [construction()])
    assert "check" not in printed(tmp_path)[1]


def test_a_rejected_construction_shows_its_raw_answer_and_the_wrong_rollout(tmp_path):
    write_dump(tmp_path, [construction(step=3, outcome="leak"), construction(outcome="timeout", answer="")])
    number, text = printed(tmp_path)
    assert number == 2
    assert "step 3 · leak · reward - · nothing spliced" in text
    assert "raw answer" in text and "P1 bad tail" in text and "(no answer)" in text


def test_the_last_trajectories_that_fit_are_printed(tmp_path):
    write_dump(tmp_path, [construction(step, query=f"query {step}") for step in (3, 1, 2)])
    number, text = printed(tmp_path, limit=2)
    assert number == 2
    assert text.index("query 2") < text.index("query 3") and "query 1" not in text
    assert printed(tmp_path, reason="leak")[0] == 0


def test_segments_have_their_styles_and_no_text_reaches_the_terminal_as_a_command(tmp_path):
    write_dump(tmp_path, [construction(reflection="[red]\x1b]0;title\x07 ")])
    out = Console(file=io.StringIO(), width=160, force_terminal=True, color_system="standard")
    print_trajectories(InspectOptions(dump=tmp_path), out)
    text = out.file.getvalue()
    assert "\x1b[31mP1 " in text and "[red]\u241b]0;title" in text and "\x1b[32mC1" in text
    assert "\x1b[2;9mbad tail" in text and "\x1b]0" not in text


def test_the_command_prints_or_writes_a_page(tmp_path):
    dump = write_dump(tmp_path, [construction(), construction(outcome="leak")], [trained()])
    done = CliRunner().invoke(app, ["inspect", str(dump), "--step", "1", "--limit", "2"])
    assert done.exit_code == 0 and "1 of 1 that fit, 2 in all" in done.output
    done = CliRunner().invoke(app, ["inspect", str(dump), "--reason", "leak"])
    assert done.exit_code == 0 and "raw answer" in done.output
    done = CliRunner().invoke(app, ["inspect", str(dump), "--html", str(tmp_path / "page.html"), "--title", "A run"])
    assert done.exit_code == 0 and "2 trajectories of 2 that fit, 2 in all" in done.output
    assert "<h1>A run</h1>" in (tmp_path / "page.html").read_text()


def test_help_imports_nothing_heavy():
    heavy = "{'torch', 'jinja2', 'pandas', 'verl', 'transformers'}"
    code = f"import sys, tapo.cli; found = {heavy} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True)
