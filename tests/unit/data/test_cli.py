import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tapo.cli import app
from tapo.data.queries import QueryFiles
from tapo.data.query import stable_index
from tapo.data.rollout_store import RolloutStore
from tapo.files.markers import marker_of
from tests.stand_ins.queries import rollouts


def write_queries(path, indices, **changes):
    rows = [
        {"data_source": "s", "prompt": [{"role": "user", "content": "How?"}], "reward_model": {"ground_truth": "1"}}
        | ({"extra_info": {"index": index}} if index != "none" else {})
        | changes
        for index in indices
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_queries_have_an_index_in_any_verl_dataset(tmp_path):
    assert [query.index for query in QueryFiles(write_queries(tmp_path / "a.parquet", ["x", "y"]))] == ["x", "y"]
    assert [query.index for query in QueryFiles(write_queries(tmp_path / "b.parquet", [7, 8]))] == ["s/7", "s/8"]
    (query,) = QueryFiles(write_queries(tmp_path / "c.parquet", ["none"]))
    assert query.index == stable_index("s", "how") and query.question == "How?" and query.ground_truth == "1"


@pytest.mark.parametrize(
    "indices, changes, message",
    [
        (["x"], {"reward_model": {"style": "rule"}}, r"has no usable query: no reward_model.ground_truth \(1 rows\)"),
        ([], {}, "has no column 'data_source'"),
    ],
)
def test_data_that_cannot_be_sampled_from_is_refused(tmp_path, indices, changes, message):
    with pytest.raises(ValueError, match=message):
        list(QueryFiles(write_queries(tmp_path / "a.parquet", indices, **changes)))


def test_an_empty_or_missing_parquet_file_is_named(tmp_path):
    path = write_queries(tmp_path / "a.parquet", ["x"])
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(ValueError, match=r"a\.parquet holds no rows"):
        list(QueryFiles(path))
    with pytest.raises(ValueError, match=r"b\.parquet cannot be read: there is no such file"):
        list(QueryFiles(tmp_path / "b.parquet"))


def test_the_commands_run_from_problems_to_rl_data(tmp_path):
    problems = [{"q": f"What is {number} plus one, as a number?", "a": number + 1} for number in range(4)]
    (tmp_path / "train.json").write_text(json.dumps(problems))
    (tmp_path / "test.json").write_text(json.dumps(problems[:1]))
    columns = ["--question-column", "q", "--answer-column", "a"]

    def tapo(*arguments):
        result = CliRunner().invoke(app, ["data", *map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    train, test, clean, rl = (tmp_path / f"{name}.parquet" for name in ("train", "test", "clean", "rl"))
    tapo("prepare", "custom", "--source", tmp_path / "train.json", "--out", train, *columns)
    tapo("prepare", "aime2024", "--source", tmp_path / "test.json", "--out", test, *columns)
    tapo("decontaminate", train, "--against", test, "--out", clean, "--overlap", "0.9")
    queries = list(QueryFiles(clean))
    assert [query.ground_truth for query in queries] == ["2", "3", "4"]
    scores = ([1.0, 0.0], [0.0, 0.0], [1.0, 1.0])
    rows = [
        rollouts(query.index, row, query.ground_truth, query.prompt[0]["content"])
        for query, row in zip(queries, scores, strict=True)
    ]
    RolloutStore.open_for_append(tmp_path / "rollouts", {}).append(rows)
    assert "0 damaged parts" in tapo("repair", tmp_path / "rollouts")
    assert "Pass rates" in tapo("filter", tmp_path / "rollouts", "--data", clean, "--out", rl)
    assert [query.index for query in QueryFiles(rl)] == [queries[0].index]


KILLED = """
import os, signal, sys
import pyarrow.parquet as pq
write = pq.ParquetWriter.write_table
def die(self, *arguments, **options):
    write(self, *arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
pq.ParquetWriter.write_table = die
from tapo.cli import main
sys.argv = ["tapo", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("stage", ["prepare", "filter"])
def test_a_stage_killed_while_writing_leaves_nothing_that_counts_and_runs_again_as_if_unbroken(tmp_path, stage):
    problems = [{"problem": f"What is {number} plus one, as a number?", "answer": number + 1} for number in range(4)]
    (tmp_path / "problems.json").write_text(json.dumps(problems))

    def arguments(out):
        if stage == "prepare":
            return ["data", "prepare", "custom", "--source", str(tmp_path / "problems.json"), "--out", str(out)]
        store, data = str(tmp_path / "rollouts"), str(tmp_path / "data.parquet")
        return ["data", "filter", store, "--data", data, "--out", str(out)]

    if stage == "filter":
        write_queries(tmp_path / "data.parquet", ["a", "b"])
        RolloutStore.open_for_append(tmp_path / "rollouts", {}).append(
            [rollouts("a", [1.0, 0.0], question="How?"), rollouts("b", [0.0], question="How?")]
        )
    whole, broken = tmp_path / "whole.parquet", tmp_path / "broken.parquet"
    assert CliRunner().invoke(app, arguments(whole), catch_exceptions=False).exit_code == 0
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments(broken)], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert not broken.exists() and not marker_of(broken).exists()
    assert CliRunner().invoke(app, arguments(broken), catch_exceptions=False).exit_code == 0
    assert pq.read_table(broken) == pq.read_table(whole)


def test_the_command_line_imports_what_a_command_needs_and_no_more():
    script = "import sys, tapo.cli; print(sorted({'pyarrow', 'datasets', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"
