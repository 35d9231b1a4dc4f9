"""Chats from what runs, cold starts and samplings leave."""

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tapo.baselines.sft.data import run_sft_data
from tapo.baselines.sft.options import SftDataOptions
from tapo.chat import load_tokenizer, prompt_ids
from tapo.cold_start.chats import END_KEY, TEMPLATE_KEY
from tapo.cold_start.store import ConstructionStore, QueryConstructions
from tapo.data.rollout_store import RolloutStore
from tapo.files.markers import report_of
from tests.stand_ins.cold_start import rollouts
from tests.stand_ins.dumps import construction, construction_record, write_dump

MODEL = Path(__file__).parents[2] / "data" / "cold_started_model"
SYSTEM = {"role": "system", "content": "Be brief."}


def asked(number):
    return [SYSTEM, {"role": "user", "content": f"Start with {number}."}]


@pytest.fixture
def data(tmp_path):
    """The parquet file of a run: three queries under a system prompt."""
    rows = [
        {
            "prompt": asked(number),
            "data_source": "d",
            "reward_model": {"ground_truth": "1"},
            "extra_info": {"index": f"i{number}"},
        }
        for number in range(3)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "train.parquet")
    return tmp_path / "train.parquet"


def make(*sources, out, **options):
    run_sft_data(SftDataOptions(sources=sources, out=out, **options), Console(quiet=True))
    rows = [row for split in ("train", "val") for row in pq.read_table(out / f"{split}.parquet").to_pylist()]
    return sorted((row["index"], row["messages"][:-1], row["messages"][-1]["content"]) for row in rows), rows


def built(number, step=1, text="C1", **fields):
    return construction(step, f"u{number}{step}{text}", query=f"Start with {number}.", correction=text, **fields)


def test_constructed_trajectories_of_a_run_stand_behind_its_whole_prompts(data, tmp_path):
    (tmp_path / "run" / "dump").mkdir(parents=True)
    records = [
        built(0),
        built(1, text="C2"),
        built(1, step=2, text="C3"),
        built(1, step=2, text="C2"),  # once more
        built(2, step=3),
        built(0, step=1, text="C4", reward=0.0),
        built(0, step=1, text="C5", is_correct=False),
        construction(1, "x", outcome="leak", query="Start with 0."),
        construction(1, "y", query="Who asked this?"),
    ]
    write_dump(tmp_path / "run" / "dump", records)
    chats, rows = make(tmp_path / "run", out=tmp_path / "o", data=(data,), last_step=2)
    assert [index for index, *_ in chats] == ["i0/0", "i1/0", "i1/1"]
    assert {text for _, _, text in chats} == {"P1 R1 C1", "P1 R1 C2", "P1 R1 C3"}
    assert all(messages == asked(int(index[1])) for index, messages, _ in chats)
    assert {row["kind"] for row in rows} == {"constructed"} and {row["data_source"] for row in rows} == {"d"}
    report = report_of(tmp_path / "o" / "train.parquet")
    assert report["dropped"] == {
        "wrong": 2,
        "leak": 1,
        "its query is in none of the data files": 1,
        "the same response to the same query": 1,
    }
    assert (report["read"], report["train"] + report["val"]) == (8, 3)


def write_rollouts(folder, steps):
    """As verl's `trainer.rollout_data_dir`: decoded without special tokens."""
    tokenizer = load_tokenizer(str(MODEL))
    folder.mkdir(parents=True)
    for step, rows in steps.items():
        lines = [
            {
                "input": tokenizer.decode(prompt_ids(messages, tokenizer, {}), skip_special_tokens=True),
                "output": output,
                "score": score,
                "step": step,
            }
            for messages, output, score in rows
        ]
        (folder / f"{step}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_correct_rollouts_of_a_run_are_told_apart_by_their_prompts(data, tmp_path):
    steps = {
        1: [(asked(0), "a", 1.0), (asked(0), "b", 0.0), (asked(1), "c", 1.0), (asked(9), "d", 1.0)],
        2: [(asked(2), "e", 0.6)],
        10: [(asked(2), "f", 1.0)],
    }
    write_rollouts(tmp_path / "run" / "rollouts", steps)
    options = {"kind": "correct", "data": (data,), "model": str(MODEL)}
    chats, _ = make(tmp_path / "run", out=tmp_path / "o", last_step=9, **options)
    assert chats == [("i0/0", asked(0), "a"), ("i1/0", asked(1), "c"), ("i2/0", asked(2), "e")]
    chats, _ = make(tmp_path / "run" / "rollouts", out=tmp_path / "p", most=1, **options)
    assert [(index, text in "ef") for index, _, text in chats][2] == ("i2/0", True) and len(chats) == 3


def test_a_store_of_rollouts_gives_whole_correct_ones_with_template_and_end(tokenizer, tmp_path):
    store = RolloutStore.open_for_append(tmp_path / "r", {"template": {"enable_thinking": False}})
    texts, scores = ("one", "two", "three", "four"), (1.0, 0.0, 1.0, 1.0)
    reasons = ["stop", "stop", "length", "stop"]
    rows = [rollouts(tokenizer, index, texts, scores, reasons) for index in "ab"]
    store.append(rows)
    chats, _ = make(tmp_path / "r", out=tmp_path / "o", kind="correct")
    assert {text for *_, text in chats} == {"one", "four"}
    report = report_of(tmp_path / "o" / "train.parquet")
    assert report["dropped"] == {"wrong": 2, "cut off": 2} and (report["train"], report["val"]) == (2, 2)
    assert report["tokens_generated"] == sum(len(ids) for row in rows for ids in row.response_ids)
    metadata = pq.read_schema(tmp_path / "o" / "train.parquet").metadata
    assert json.loads(metadata[TEMPLATE_KEY]) == {"enable_thinking": False}
    assert json.loads(metadata[END_KEY]) == tokenizer.eos_token_id


def test_a_cold_starts_trajectories_are_taken_offline(tmp_path):
    store = ConstructionStore.open_for_append(tmp_path / "c" / "constructions", {})
    attempt = construction_record(answer_tokens=7)
    kept = [
        QueryConstructions(index=i, data_source="d", prompt=asked(1), outcome="kept", attempts=[attempt]) for i in "ab"
    ]
    store.append([*kept, QueryConstructions(index="z", data_source="d", prompt=asked(2), outcome="ineligible")])
    chats, _ = make(tmp_path / "c", out=tmp_path / "o")
    assert chats == [("a/0", asked(1), "P1 R1 C1"), ("b/0", asked(1), "P1 R1 C1")]
    report = report_of(tmp_path / "o" / "train.parquet")
    assert report["dropped"] == {"ineligible": 1} and report["tokens_generated"] == 14


def test_queries_are_held_out_whole_and_the_same_ones_each_time(data, tmp_path):
    (tmp_path / "dump").mkdir()
    write_dump(tmp_path / "dump", [built(n, text=f"C{n}{i}") for n in range(3) for i in range(4)])
    for out in ("o", "p"):
        make(tmp_path / "dump", out=tmp_path / out, data=(data,), val_share=0.4)
    train, val = (pq.read_table(tmp_path / "o" / f"{split}.parquet") for split in ("train", "val"))
    queries = [{index.split("/")[0] for index in table["index"].to_pylist()} for table in (train, val)]
    assert [len(split) for split in queries] == [2, 1] and not queries[0] & queries[1]
    assert (train.num_rows, val.num_rows) == (8, 4)
    assert train["index"].to_pylist() != sorted(train["index"].to_pylist())
    assert pq.read_table(tmp_path / "p" / "train.parquet") == train


def test_what_is_complete_is_not_made_again_unless_the_source_has_grown(data, tmp_path):
    (tmp_path / "dump").mkdir()
    write_dump(tmp_path / "dump", [built(0), built(1)])
    make(tmp_path / "dump", out=tmp_path / "o", data=(data,))
    before = (tmp_path / "o" / "train.parquet").stat().st_mtime_ns
    make(tmp_path / "dump", out=tmp_path / "o", data=(data,))
    assert (tmp_path / "o" / "train.parquet").stat().st_mtime_ns == before
    write_dump(tmp_path / "dump", [built(0), built(1), built(2)])
    chats, _ = make(tmp_path / "dump", out=tmp_path / "o", data=(data,))
    assert len(chats) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"data = \(\) cannot work"),
        ({"data": ("train.parquet",), "kind": "correct"}, r"no rollouts in it, and no dump called `rollouts`"),
        ({"last_step": 3}, r"last_step = 3 cannot work: only a run has steps"),
        ({"data": ("train.parquet",)}, r"1 queries have a chat, of 1 constructed responses: needs 2 or more"),
    ],
)
def test_what_cannot_work_says_so(data, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dump").mkdir()
    write_dump(tmp_path / "dump", [built(0)])
    options = {name: tuple(map(Path, v)) if name == "data" else v for name, v in options.items()}
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "dump", out=tmp_path / "o", **options)
