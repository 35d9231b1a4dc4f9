"""Parquet files as verl's own preprocessing writes them, taken as they are."""

import io
import json
from pathlib import Path

import datasets
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tapo.data.options import ColumnOptions, FilterOptions
from tapo.data.pass_rate import run_filter
from tapo.data.queries import QueryFiles
from tapo.data.query import AGENT, MEDIA, MORE_THAN_TEXT, NO_MESSAGES, NO_REWARD_MODEL, NO_TEXT, NO_USER
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tests.stand_ins.queries import row, write

SILENT = Console(file=io.StringIO())


GSM8K = row(
    'Natalia sold 48 clips. How many? Let\'s think step by step and output the final answer after "####".',
    "72",
    "openai/gsm8k",
    extra_info={
        "split": "train",
        "index": 3,
        "answer": "48+24=72\n#### 72",
        "question": "Natalia",
    },
)
MATH = row("What is $x$? Let's think step by step.", "\\frac{1}{2}", "DigitalLearningGmbH/MATH-lighteval")
DAPO = row(
    "Solve the following math problem. The last line of your response should be of the form Answer: $Answer",
    "34",
    "math_dapo",
    ability="MATH",
    reward_model={"ground_truth": "34", "style": "rule-lighteval/MATH_v2"},
    extra_info={"index": "9a9b6eb4-a1cb-49d1-8c1e-62eaf2f74079"},
)
SEARCH = row(
    "who wrote it",
    {"target": ["A", "B"]},
    "searchR1_nq",
    prompt=[{"role": "system", "content": "You are helpful."}, {"role": "user", "content": "who wrote it"}],
    extra_info={"index": 5, "tools_kwargs": {"search": {"create_kwargs": {"ground_truth": ["A"]}}}},
)
CODE = row("Write it.", json.dumps({"inputs": ["1"], "outputs": ["2"]}), "codecontests")


@pytest.mark.parametrize(
    ("shape", "index"),
    [
        (GSM8K, "openai/gsm8k/3"),
        (MATH, "DigitalLearningGmbH/MATH-lighteval/0"),
        (DAPO, "9a9b6eb4-a1cb-49d1-8c1e-62eaf2f74079"),
        (SEARCH, "searchR1_nq/5"),
        (CODE, "codecontests/0"),
    ],
)
@pytest.mark.parametrize("writer", ["datasets", "pandas"])
def test_the_shapes_of_verls_preprocessing_keep_prompt_truth_and_extra_info(tmp_path, shape, index, writer):
    path = tmp_path / "train.parquet"
    if writer == "datasets":
        datasets.Dataset.from_list([shape]).to_parquet(str(path))
    else:  # whose prompts come back as numpy arrays of dicts
        pd.DataFrame([shape]).to_parquet(path)
    (query,) = QueryFiles(path)
    assert (query.index, query.data_source, query.prompt) == (index, shape["data_source"], shape["prompt"])
    assert query.ground_truth == shape["reward_model"]["ground_truth"] and query.extra_info == shape["extra_info"]


@pytest.mark.parametrize("truth", ["7", 7, 7.5, ["7", "seven"], {"target": ["7"]}, True, ""])
def test_a_ground_truth_reaches_the_reward_in_its_own_type_by_way_of_the_store(tmp_path, truth):
    (query,) = QueryFiles(write(tmp_path / "a.parquet", [row(truth=truth, extra_info={"index": 1, "unit": "cm"})]))
    store = RolloutStore.open_for_append(tmp_path / "s", {})
    store.append([sampled(query, 1)])
    (stored,) = store
    assert stored.scoring == {
        "data_source": "s",
        "index": "s/1",
        "ground_truth": truth,
        "extra_info": {"index": 1, "unit": "cm"},
    }
    assert stored.ground_truth == (truth if isinstance(truth, str) else json.dumps(truth))


def sampled(query, right, n=2):
    return QueryRollouts(
        query.index,
        query.data_source,
        query.prompt,
        query.truth_text,
        ["r"] * n,
        [[1]] * n,
        ["stop"] * n,
        [1.0] * right + [0.0] * (n - right),
        query.reward_inputs,
    )


def test_a_store_from_before_rewards_had_inputs_is_still_read(tmp_path):
    store = RolloutStore.open_for_append(tmp_path / "s", {})
    (query,) = QueryFiles(write(tmp_path / "a.parquet", [row()]))
    store.append([sampled(query, 1)])
    (part,) = (tmp_path / "s").glob("part-*.parquet")
    pq.write_table(pq.read_table(part).drop(["reward_inputs"]), part)
    (stored,) = RolloutStore.open(tmp_path / "s")
    assert stored.reward_inputs is None and stored.scores == [1.0, 0.0]
    assert stored.scoring == {
        "data_source": "s",
        "index": "s/0",
        "ground_truth": "7",
        "extra_info": {"index": "s/0"},
    }


def test_queries_that_share_an_index_are_told_apart_and_copies_are_one(tmp_path):
    one = write(tmp_path / "one.parquet", [row("a"), row("b"), row("a")])
    two = write(tmp_path / "two.parquet", [row("a", "8"), row("a")])
    files = QueryFiles([one, two])
    queries = list(files)
    assert [(query.question, query.ground_truth) for query in queries] == [
        ("a", "7"),
        ("b", "7"),
        ("a", "8"),
    ]
    assert queries[0].index == "s/0" and all(query.index.startswith("s/0/") for query in queries[1:])
    assert len({query.index for query in queries}) == 3
    assert (files.rows, files.repeated, files.unusable.total()) == (5, 2, 0)
    assert [query.index for query in files] == [query.index for query in queries]


def test_rows_without_an_index_or_extra_info_are_named_by_their_question(tmp_path):
    bare = [{key: value for key, value in row(text).items() if key != "extra_info"} for text in ("a", "b")]
    one, two = QueryFiles(write(tmp_path / "a.parquet", bare))
    assert one.index != two.index and one.extra_info == {}
    other = row("a", prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"}])
    other["extra_info"] = {"index": None}
    files = QueryFiles([tmp_path / "a.parquet", write(tmp_path / "b.parquet", [other])])
    names = [query.index for query in files]
    assert names[2].startswith(f"{one.index}/") and len(set(names)) == 3


def test_rows_that_cannot_be_sampled_are_counted_by_reason(tmp_path):
    system = {"role": "system", "content": "s"}
    parts = {"role": "user", "content": [{"type": "text", "text": "a"}]}
    call = {"role": "user", "content": "a", "tool_calls": [{"name": "f"}]}
    rows = [
        [row(prompt="text"), row(prompt=None)],
        [row(prompt=[parts])],
        [row(prompt=[call]), row("good")],
        [row(agent_name="tool_agent"), row("fine", agent_name="single_turn_agent")],
        [row(images=[{"bytes": b"x"}]), row("none", images=[]), row("no", images=None)],
        [row(reward_model={"style": "model"})],
        [row(prompt=[system])],
    ]
    files = QueryFiles([write(tmp_path / f"{number}.parquet", each) for number, each in enumerate(rows)])
    assert [query.question for query in files] == ["good", "fine", "none", "no"]
    reasons = {NO_TEXT: 1, MORE_THAN_TEXT: 1, AGENT: 1, MEDIA: 1, NO_REWARD_MODEL: 1, NO_USER: 1}
    assert files.unusable == {NO_MESSAGES: 2} | reasons and files.rows == 12


def test_geometry_with_images_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "geo3k.parquet"
    image = {"bytes": b"png", "path": None}
    datasets.Dataset.from_list([row("<image>Find x.", images=[image]) for _ in range(2)]).to_parquet(str(path))
    with pytest.raises(ValueError, match=r"geo3k\.parquet has no usable query: images, videos or audio \(2 rows\)"):
        list(QueryFiles(path))


def test_json_is_refused_with_the_way_to_parquet(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(row()))
    with pytest.raises(ValueError, match=r"a\.jsonl is JSON, .*: needs parquet"):
        list(QueryFiles(tmp_path / "a.jsonl"))


def test_columns_of_other_names_are_read_as_the_run_reads_them(tmp_path):
    renamed = row("q")
    renamed["question"], renamed["source"] = renamed.pop("prompt"), renamed.pop("data_source")
    path = write(tmp_path / "a.parquet", [renamed])
    (query,) = QueryFiles(path, ColumnOptions(prompt_key="question", reward_fn_key="source"))
    assert (query.question, query.data_source) == ("q", "s")
    with pytest.raises(ValueError, match="has no column 'data_source'"):
        list(QueryFiles(path))


def filtering(folder, *files):
    return FilterOptions(rollouts=folder / "r", data=files, out=folder / "rl.parquet")


def test_the_filter_leaves_every_column_of_every_kept_row_as_it_is(tmp_path):
    extra = {"index": 0, "tools_kwargs": {"t": {"create_kwargs": {"x": [1, 2]}}}, "need_tools_kwargs": False}
    rows = [row(f"q{i}", extra_info=extra | {"index": i}, level=i, tags=["a", None]) for i in range(4)]
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    datasets.Dataset.from_list([rows[0], rows[1], rows[0]]).to_parquet(str(one))
    datasets.Dataset.from_list([rows[2] | {"agent_name": None}, rows[3] | {"agent_name": "tool_agent"}]).to_parquet(
        str(two)
    )
    files = QueryFiles([one, two])
    store = RolloutStore.open_for_append(tmp_path / "r", {})
    store.append([sampled(query, right) for query, right in zip(files, (1, 2, 1), strict=True)])
    terminal = Console(file=io.StringIO(), width=120)
    run_filter(filtering(tmp_path, one, two), terminal)
    kept = pq.read_table(tmp_path / "rl.parquet").to_pylist()
    assert kept == [rows[0] | {"agent_name": None}, rows[0] | {"agent_name": None}, rows[2] | {"agent_name": None}]
    text = terminal.file.getvalue()
    assert f"{AGENT} (rows)" in text and "3 rows: the data repeats queries" in text and "too easy" in text
    loaded = datasets.load_dataset("parquet", data_files=str(tmp_path / "rl.parquet"), cache_dir=str(tmp_path / "c"))
    assert loaded["train"][0]["extra_info"] == rows[0]["extra_info"]


def test_one_file_keeps_its_schema_and_metadata_to_the_letter(tmp_path):
    path = tmp_path / "one.parquet"
    datasets.Dataset.from_list([row("a"), row("b", extra_info={"index": 1, "split": "train"})]).to_parquet(str(path))
    store = RolloutStore.open_for_append(tmp_path / "r", {})
    store.append([sampled(query, 1) for query in QueryFiles(path)])
    run_filter(filtering(tmp_path, path), SILENT)
    assert pq.read_table(tmp_path / "rl.parquet").equals(pq.read_table(path), check_metadata=True)


def test_files_whose_columns_differ_in_type_are_refused(tmp_path):
    one, two = write(tmp_path / "1.parquet", [row("a")]), write(tmp_path / "2.parquet", [row("b", ability=1)])
    files = QueryFiles([one, two])
    store = RolloutStore.open_for_append(tmp_path / "r", {})
    store.append([sampled(query, 1) for query in files])
    with pytest.raises(ValueError, match=r"do not fit into one file: .*ability"):
        run_filter(filtering(tmp_path, one, two), SILENT)
    assert not Path(tmp_path / "rl.parquet").exists()


def test_rollouts_of_another_prompt_stop_the_filter(tmp_path):
    store = RolloutStore.open_for_append(tmp_path / "r", {})
    store.append([sampled(query, 1) for query in QueryFiles(write(tmp_path / "a.parquet", [row("a")]))])
    files = QueryFiles(write(tmp_path / "b.parquet", [row("b")]))
    with pytest.raises(ValueError, match=r"query s/0: another prompt in .*b\.parquet than in"):
        run_filter(filtering(tmp_path, *files.paths), SILENT)
