"""Nothing that stands in data is executed: texts that an interpreter, a shell, a template, a loader or a browser would
obey go through everything that reads data, and leave no trace."""

import base64
import gzip
import json
import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tapo.cli import app
from tapo.core.answer import parse_construction
from tapo.core.funnel import ConstructionError
from tapo.core.prompts import construction_messages
from tapo.options import ConfigError, key_values
from tapo.rewards import compute_score
from tests.attack.texts import CONTROL, PLACEHOLDERS, TAGS, code
from tests.stand_ins.dumps import construction, trained, write_dump


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "mark"


def test_texts_in_commands(tally, tmp_path, mark):
    """Hostile texts in problems, prompts, responses and dumps, through the commands that read them."""
    texts = [*code(mark), *CONTROL, *TAGS, *PLACEHOLDERS]
    problems = [{"problem": f"{text} What is {i}?", "answer": text} for i, text in enumerate(texts) if text.strip()]
    (tmp_path / "problems.json").write_text(json.dumps(problems))
    rows = [
        {
            "data_source": text,
            "prompt": [{"role": "user", "content": text}],
            "reward_model": {"ground_truth": text, "style": text},
            "extra_info": {"index": text},
        }
        for text in texts
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "queries.parquet")
    (tmp_path / "0.jsonl").write_text("".join(json.dumps({"output": f"Wait, {text}"}) + "\n" for text in texts))
    for command in (
        ["data", "prepare", tmp_path / "problems.json", "--out", tmp_path / "prepared", "--check-answers"],
        ["data", "decontaminate", tmp_path / "queries.parquet", "--against", tmp_path / "queries.parquet"],
        ["eval", "reflections", tmp_path],
        ["inspect", tmp_path],
        ["summary", tmp_path],
    ):
        with tally.input():
            result = CliRunner().invoke(app, list(map(str, command)))
        if result.exception and not isinstance(result.exception, ValueError | OSError | SystemExit):
            tally.wrong.append((command, repr(result.exception)))
        if re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", result.output):
            tally.wrong.append((command, "control characters on the terminal"))
    if mark.exists():
        tally.wrong.append("executed")


def test_texts_in_functions(tally, mark):
    """Hostile texts in answers, ground truths, prompts and options, through the functions that read them."""
    for text in code(mark):
        with tally.input():
            compute_score("attack", f"\\boxed{{{text}}}", text, timeout_s=2.0)
        with tally.input():
            [message] = construction_messages([{"role": "user", "content": text}], wrong=text, correct=text)
            if message["content"].count(text) < 3:
                tally.wrong.append(text)
        with tally.input():
            try:
                read = parse_construction(f"<analysis>{text}</analysis><reconstruction>{text}</reconstruction>")
            except ConstructionError:
                continue
            if text.strip() not in read.reconstruction:
                tally.wrong.append(text)
        with tally.input():
            try:
                key_values([f"a={text}"])
            except ConfigError:
                continue
    if mark.exists():
        tally.wrong.append("executed")


def test_texts_in_the_page(tally, tmp_path, mark):
    """Hostile texts on the page of trajectories: they are in its data, and nowhere in its markup."""
    texts = [*code(mark), *CONTROL, *TAGS, "\u2028</SCRIPT >", "<!--<script>", "]]>", "&lt;script&gt;"] * 4
    records = [
        construction(name=f"u{i}", query=text, wrong=f"P1 {text}", answer=text, correct=text)
        for i, text in enumerate(texts)
    ]
    page = tmp_path / "page.html"
    write_dump(tmp_path, records, [trained(f"u{i}") for i in range(len(texts))])
    clean = tmp_path / "clean.html"
    (tmp_path / "clean").mkdir()
    write_dump(tmp_path / "clean", [construction(name=f"u{i}") for i in range(len(texts))])
    for dump, html in ((tmp_path, page), (tmp_path / "clean", clean)):
        result = subprocess.run(
            [sys.executable, "-m", "tapo.cli", "inspect", dump, "--html", html, "--limit", "1000"],
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr

    def markup(path):
        return re.sub(r'(<script type="(?:application/json|text/plain)"[^>]*>).*?</script>', r"\1", path.read_text())

    tags = [re.findall(r"<\s*/?\s*[a-zA-Z!][^>]*>", markup(path)) for path in (page, clean)]
    if [tag for tag in tags[0] if tag.startswith("<script")] != [tag for tag in tags[1] if tag.startswith("<script")]:
        tally.wrong.append("scripts differ")
    shown = []
    for chunk in re.findall(r'<script type="text/plain" class="chunk">(.*?)</script>', page.read_text()):
        shown += json.loads(gzip.decompress(base64.b64decode(chunk)))["wrong"]
    for text in texts:
        with tally.input():
            if f"P1 {text}" not in shown:
                tally.wrong.append(text)
