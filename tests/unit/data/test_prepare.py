import csv
import hashlib
import io
import json
from decimal import Decimal

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tapo.cli import app
from tapo.data.answers import NO_ANSWER, NO_TEXT, NOT_PARSABLE, check_readable, ground_truth_of
from tapo.data.decontamination import Decontaminator, decontaminate
from tapo.data.options import KNOWN_DATASETS, PrepareOptions
from tapo.data.prepare import run_prepare
from tapo.data.problems import iter_problems
from tapo.data.queries import QueryFiles
from tapo.data.query import UnusableRow
from tapo.data.rollout_store import RolloutStore
from tapo.data.text import BOXED_INSTRUCTION
from tapo.files.part_store import StoreMismatch
from tests.stand_ins.queries import rollouts

ROWS = [
    {"problem": "Find $x$ if $x+1=2$.", "answer": "$\\boxed{1}$", "id": "p1"},
    {"problem": "Find  $x$ if $x + 1 = 2$", "answer": "1", "id": "p2"},
    {"problem": "find x if x+1=2", "answer": "5", "id": "p3"},
    {"problem": "How many primes are even?", "answer": "", "id": "p4"},
    {"problem": "  ", "answer": "3", "id": "p5"},
    {"problem": 'What is $\\frac12$ of 3, "roughly",\nin halves?', "answer": "\\frac{3}{2}", "id": "p6"},
]


def console():
    return Console(file=io.StringIO(), width=200)


def prepare(source, out, **options):
    terminal = console()
    options = {"name": "custom", "source": str(source), "data_source": "mine", "out": out} | options
    run_prepare(PrepareOptions(**options), terminal)
    return terminal.file.getvalue()


def write(folder, kind, rows=ROWS):
    path = folder / f"problems.{kind}"
    if kind == "json":
        path.write_text(json.dumps(rows, indent=1))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "csv":
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet"])
def test_every_local_format_gives_the_same_rows_in_verls_format(tmp_path, kind):
    text = prepare(write(tmp_path, kind), tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    digest = hashlib.sha256(b"find x if x + 1 = 2").hexdigest()
    assert rows[0] == {
        "data_source": "mine",
        "prompt": [{"role": "user", "content": f"Find $x$ if $x+1=2$.\n{BOXED_INSTRUCTION}"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "1"},
        "extra_info": {"index": f"mine/{digest[:16]}", "split": "train"},
    }
    assert len(rows) == 2 and rows[1]["reward_model"]["ground_truth"] == "\\frac{3}{2}"
    assert '"roughly",\nin' in rows[1]["prompt"][0]["content"]
    for line in ("kept                                      │ 2", "dropped: no answer", "dropped: no question"):
        assert line in text
    assert "dropped: duplicate question               │ 1" in text
    assert "dropped: duplicate question, other answer │ 1" in text


@pytest.mark.parametrize(("text", "behind"), [("Answer: NUMBER", "\nAnswer: NUMBER"), ("none", ""), (" none ", "")])
def test_an_instruction_of_ones_own_takes_the_place_of_the_known_one(tmp_path, text, behind):
    source, out = write(tmp_path, "json"), tmp_path / "out.parquet"
    arguments = ["data", "prepare", "custom", "--source", str(source), "--out", str(out), "--instruction", text]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    queries = list(QueryFiles(out))
    assert queries[0].prompt == [{"role": "user", "content": f"Find $x$ if $x+1=2$.{behind}"}]
    assert queries[0].question == "Find $x$ if $x+1=2$."
    prepare(source, tmp_path / "boxed.parquet")
    assert [query.index.split("/")[1] for query in queries] == [
        query.index.split("/")[1] for query in QueryFiles(tmp_path / "boxed.parquet")
    ]


def test_another_instruction_makes_the_data_again_and_its_rollouts_are_refused(tmp_path):
    source, out = write(tmp_path, "json"), tmp_path / "out.parquet"
    prepare(source, out)
    before = QueryFiles(out).fingerprint()
    assert "is made again" not in prepare(source, out)
    assert "is made again: instruction = 'Please" in prepare(source, out, instruction="Answer: NUMBER")
    RolloutStore.open_for_append(tmp_path / "r", {"data": before}).append([rollouts("q", [1.0])])
    with pytest.raises(StoreMismatch, match="data = 'sha256:"):
        RolloutStore.open_for_append(tmp_path / "r", {"data": QueryFiles(out).fingerprint()})


def test_an_instruction_of_ones_own_does_not_make_problems_look_alike(tmp_path):
    instruction = "Write the answer as a single number in the last line of your response and nothing else."
    evaluation = [{"problem": "What is two plus two?", "answer": "4"}]
    training = [{"problem": "Name the smallest prime number.", "answer": "2"}, *evaluation]
    prepare(write(tmp_path, "json", evaluation), tmp_path / "test.parquet", instruction=instruction)
    prepare(write(tmp_path, "json", training), tmp_path / "train.parquet", instruction=instruction)
    made = Decontaminator(files=[tmp_path / "test.parquet"])
    assert decontaminate(tmp_path / "train.parquet", made, tmp_path / "clean.parquet", tmp_path / "report") == (1, 1)
    (query,) = QueryFiles(tmp_path / "clean.parquet")
    assert query.question == "Name the smallest prime number."


def test_a_verl_parquet_is_not_prepared_and_the_message_says_what_takes_it(tmp_path):
    prepare(write(tmp_path, "json"), tmp_path / "verl.parquet")
    with pytest.raises(ValueError, match=r"has no column 'problem', but is a verl parquet file: .*`tapo rollout`"):
        prepare(tmp_path / "verl.parquet", tmp_path / "again.parquet")


def test_a_dataset_folder_is_loaded_as_a_hub_dataset_is(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "dataset"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "test-00000-of-00001.parquet")
    prepare(folder, tmp_path / "out.parquet", split="test")
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 2
    with pytest.raises(ValueError, match=r"split 'train'.* cannot be loaded: .*--source FILE"):
        prepare(folder, tmp_path / "out.parquet")


def test_a_hub_that_is_out_of_reach_is_named_with_the_way_around(tmp_path, monkeypatch):
    def unreachable(source, subset, split):
        raise ConnectionError(f"Couldn't reach {source} on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    hub_id = KNOWN_DATASETS["deepscaler"].hub_id
    with pytest.raises(ValueError, match=rf"source = '{hub_id}' .* Couldn't reach .*--source FILE"):
        prepare(hub_id, tmp_path / "out.parquet")


def test_an_index_follows_the_question_wherever_its_row_stands(tmp_path):
    prepare(write(tmp_path, "json"), tmp_path / "one.parquet")
    prepare(write(tmp_path, "json", ROWS[::-1]), tmp_path / "two.parquet")
    one, two = (pq.read_table(tmp_path / f"{name}.parquet")["extra_info"].to_pylist() for name in ("one", "two"))
    assert {row["index"] for row in one} == {row["index"] for row in two} and one != two


def test_ids_of_the_users_own_have_to_be_unique(tmp_path):
    prepare(write(tmp_path, "json"), tmp_path / "out.parquet", index_column="id")
    rows = pq.read_table(tmp_path / "out.parquet")["extra_info"].to_pylist()
    assert [row["index"] for row in rows] == ["mine/p1", "mine/p6"]
    twice = [ROWS[0], ROWS[5] | {"id": "p1"}]
    with pytest.raises(ValueError, match=r"column 'id' = 'p1' cannot work as an index: needs unique"):
        prepare(write(tmp_path, "json", twice), tmp_path / "out.parquet", index_column="id")


def test_a_limit_counts_usable_rows(tmp_path):
    rows = [{"problem": f"What is {n}+1?", "answer": n + 1 if n % 2 else None} for n in range(3000)]
    prepare(write(tmp_path, "jsonl", rows), tmp_path / "out.parquet", limit=1200)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.num_rows == 1200
    assert table["reward_model"].to_pylist()[-1]["ground_truth"] == "2400"


def test_dropped_rows_are_shown_on_request(tmp_path):
    text = prepare(write(tmp_path, "json"), tmp_path / "out.parquet", show_dropped=2)
    assert text.count("dropped (") == 2 and "dropped (duplicate question, other answer): {'problem': 'find x" in text


def test_problems_of_an_evaluation_set_are_left_out_and_listed(tmp_path):
    prepare(write(tmp_path, "json", ROWS[:1]), tmp_path / "test.parquet")
    out = tmp_path / "out.parquet"
    text = prepare(write(tmp_path, "json"), out, against=(tmp_path / "test.parquet",))
    assert pq.read_metadata(out).num_rows == 1 and "dropped: evaluation problem" in text
    record = json.loads((tmp_path / "out.parquet.contaminated.jsonl").read_text())
    assert record["kind"] == "equal" and record["index"] == record["evaluation_index"]


def test_a_finished_dataset_is_not_made_again_unless_something_changed(tmp_path):
    out = tmp_path / "out.parquet"
    first = prepare(write(tmp_path, "json"), out)
    before = out.stat()
    assert prepare(tmp_path / "problems.json", out) == first
    assert out.stat().st_mtime_ns == before.st_mtime_ns and out.stat().st_ino == before.st_ino
    assert "limit = None then, 1 now" in prepare(tmp_path / "problems.json", out, limit=1)
    assert pq.read_metadata(out).num_rows == 1
    write(tmp_path, "json", ROWS[:1])
    assert "source = 'sha256:" in prepare(tmp_path / "problems.json", out, limit=1)


def test_a_failed_preparation_leaves_the_earlier_file(tmp_path):
    out = tmp_path / "out.parquet"
    prepare(write(tmp_path, "json"), out)
    before = out.read_bytes()
    path = write(tmp_path, "jsonl")
    path.write_text(path.read_text() + '{"problem": "cut')
    with pytest.raises(ValueError, match=r"problems\.jsonl, line 7 is no JSON"):
        prepare(path, out)
    assert out.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.parquet", "problems.json", "problems.jsonl"]


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "a.jsonl",
            '{"question": "q", "solution": "1"}',
            "no column 'problem': its columns are question, solution; .*--q",
        ),
        ("a.jsonl", "", r"a\.jsonl has no usable problem: it holds no rows"),
        ("a.json", "[]", "it holds no rows"),
        ("a.json", '{"problem": "q"', r"a\.json, line 1 is no JSON"),
        ("a.json", "[1]", r"a\.json, entry 1 is int 1: needs an object"),
        ("a.json", '[{"problem": "q", "answer": null}]', "no usable problem: no answer 1"),
        ("a.csv", "problem,answer\nq\n", r"a\.csv, line 2: needs 2 fields a row"),
        ("a.csv", "problem,answer\nq,1,2\n", "needs 2 fields"),
        ("a.csv", 'problem,answer\n"q"x,1\n', r"a\.csv, line 2 is no CSV"),
        ("a.csv", b"problem,answer\n\xff,1\n", r"a\.csv is no UTF-8 text"),
        ("a.parquet", "PAR1", r"a\.parquet is no whole parquet file"),
        ("a.txt", "q", r"source = '.*a\.txt' cannot work: needs a file that ends in \.json, \.jsonl, \.csv, \.parquet"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        prepare(path, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_source_that_is_not_there_is_named(tmp_path):
    for source in (tmp_path / "none.jsonl", tmp_path / "none"):
        with pytest.raises(ValueError, match=r"none(\.jsonl)?' cannot work: there is no such file"):
            list(iter_problems(str(source), split="train"))
    with pytest.raises(ValueError, match=r"--source = None cannot work: a custom dataset needs a file"):
        PrepareOptions(name="custom", out=tmp_path)


def test_known_datasets_are_named_and_others_refused(tmp_path):
    hmmt = PrepareOptions(name="hmmt_feb_2025", out=tmp_path)
    assert (hmmt.source, hmmt.data_source, hmmt.split_name) == ("MathArena/hmmt_feb_2025", "hmmt_feb_2025", "test")
    assert PrepareOptions(name="deepscaler", out=tmp_path, source="mine.json", split="x").split_name == "train"
    assert PrepareOptions(name="custom", out=tmp_path, source="mine.json", split="x").split_name == "x"
    with pytest.raises(ValueError, match="name = 'aime' cannot work: allowed are deepscaler, aime2024"):
        PrepareOptions(name="aime", out=tmp_path)


@pytest.mark.parametrize(
    "value, answer",
    [
        (33, "33"),
        (33.0, "33"),
        ("33.0", "33"),
        (0.5, "0.5"),
        (-2.0, "-2"),
        (Decimal("12.50"), "12.50"),
        (" 025 ", "025"),
        ("$\\frac{1}{2}$.", "\\frac{1}{2}"),
        ("\\(x+1\\)", "x+1"),
        ("so it is $\\boxed{\\text{even}}$", "\\text{even}"),
        (["7"], "7"),
        ("(1, 2)", "(1, 2)"),
    ],
)
def test_answers_become_plain_text(value, answer):
    assert ground_truth_of(value) == answer


@pytest.mark.parametrize(
    "value, reason",
    [
        *((value, NO_ANSWER) for value in (None, float("nan"), "  $ $ ", "\\boxed{}")),
        *((value, NO_TEXT) for value in (True, ["1", "2"], {"a": 1})),
    ],
)
def test_unusable_answers_have_their_reason(value, reason):
    with pytest.raises(UnusableRow, match=reason):
        ground_truth_of(value)


def test_answers_that_math_verify_cannot_read_are_found_on_request():
    for readable in ("12", "\\frac{3}{2}", "x^2+1"):
        check_readable(readable)
    with pytest.raises(UnusableRow, match=NOT_PARSABLE):
        check_readable("\\frac{")
