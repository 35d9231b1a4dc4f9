"""`tapo rollout` without a model: what is asked, what is written, and what a second start repeats."""

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tapo.chat import prompt_ids
from tapo.cli import app
from tapo.data.queries import QueryFiles
from tapo.data.rollout_store import RolloutStore
from tapo.files.part_store import StoreMismatch
from tapo.generation.engine import Sampling, derived_seed
from tapo.generation.options import EngineOptions, RolloutOptions, template_kwargs
from tapo.generation.run_rollouts import RolloutTask, rollout_fingerprint, sample_rollouts
from tapo.generation.scoring import RewardOptions, Scorer
from tapo.terminal import Progress
from tests.stand_ins.queries import Engine, write_data

FACTS = {"model": "m"}


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "data.parquet", [f"question {i}" for i in range(7)])


def options(data, **changes):
    return RolloutOptions(model="name/model", data=(data,), out=Path("s"), **{"part_size": 2, "at_once": 3} | changes)


def sample(data, store, engine, **changes):
    chosen = options(data, n=2, seed=5, template={}, max_tokens=9, **changes)
    task = RolloutTask(chosen, QueryFiles(data), Scorer(), engine.tokenizer)
    with Progress("rollouts", 7, Console(file=io.StringIO())) as progress:
        return asyncio.run(sample_rollouts(task, store, engine, progress))


def test_each_query_is_asked_once_with_its_own_seed_and_stored_with_its_scores(tokenizer, data, tmp_path):
    store, engine = RolloutStore.open_for_append(tmp_path / "s", FACTS), Engine(tokenizer)
    report = sample(data, store, engine)
    rows = list(store)
    assert [row.index for row in rows] == [f"q{i}" for i in range(7)]
    seeds = [derived_seed(5, row.index) for row in rows]
    assert sorted(engine.calls) == sorted(
        (prompt_ids([{"role": "user", "content": f"question {i}"}], tokenizer, {}), seed)
        for i, seed in enumerate(seeds)
    )
    for row, seed in zip(rows, seeds, strict=True):
        correct = seed % 2 == 0
        assert row.responses == [rf"\boxed{{{7 if correct else 8}}}"] * 2 and row.scores == [float(correct)] * 2
        assert row.finish_reasons == ["stop", "length"]
        assert row.response_ids[0] == [*row.response_ids[1], tokenizer.eos_token_id]
    correct = 2 * sum(seed % 2 == 0 for seed in seeds)
    assert (report.queries, report.there, report.responses, report.correct, report.truncated) == (7, 0, 14, correct, 7)


def test_an_engine_that_fails_loses_nothing_that_was_complete_and_a_second_start_repeats_none_of_it(
    tokenizer, data, tmp_path
):
    store = RolloutStore.open_for_append(tmp_path / "s", FACTS)
    with pytest.raises(ConnectionError, match="gone"):
        sample(data, store, Engine(tokenizer, fails_at=4), at_once=1)
    assert [row.index for row in store] == ["q0", "q1", "q2"]
    again = Engine(tokenizer)
    report = sample(data, RolloutStore.open_for_append(tmp_path / "s", FACTS), again)
    assert (report.there, report.queries, len(again.calls)) == (3, 4, 4)
    whole = RolloutStore.open_for_append(tmp_path / "whole", FACTS)
    sample(data, whole, Engine(tokenizer))
    assert list(store) == list(whole)


def test_queries_with_too_long_a_prompt_are_left_out_and_named(tokenizer, tmp_path):
    data = write_data(tmp_path / "long.parquet", ["short", "long " * 100])
    store = RolloutStore.open_for_append(tmp_path / "s", FACTS)
    report = sample(data, store, Engine(tokenizer), max_prompt_tokens=60)
    assert (report.overlong, store.done()) == (["q1"], {"q0"})


def test_the_command_goes_on_where_it_stopped_and_refuses_to_mix(tokenizer, data, tmp_path, monkeypatch):
    engines = []

    def start(options, tokenizer, max_model_len):
        engines.append(Engine(tokenizer))
        return engines[-1]

    monkeypatch.setattr(EngineOptions, "start", start)
    monkeypatch.setattr("tapo.generation.run_rollouts.load_tokenizer", lambda model: tokenizer)
    arguments = ["rollout", str(data), "--model", "name/model", "--out", str(tmp_path / "s"), "--n", "2"]
    first = CliRunner().invoke(app, [*arguments, "--limit", "3"], catch_exceptions=False)
    assert "3 queries sampled, 0 were there; 6 responses" in " ".join(first.output.split())
    second = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "4 queries sampled, 3 were there" in " ".join(second.output.split())
    third = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "holds rollouts of all 7 queries" in " ".join(third.output.split()) and len(engines) == 2
    with pytest.raises(StoreMismatch, match=r"sampling\.temperature = 1\.0 then, 0\.5 now"):
        CliRunner().invoke(app, [*arguments, "--temperature", "0.5"], catch_exceptions=False)
    write_data(data, ["other"])
    with pytest.raises(StoreMismatch, match=r"data = 'sha256:"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_a_half_written_model_is_named_before_anything_is_loaded(data, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    line = ["rollout", str(data), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "store")]
    refused = CliRunner().invoke(app, line)
    assert str(refused.exception).startswith(f"--model = '{tmp_path / 'model'}' cannot work: a half-written model")


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"temperature": -1}, "temperature = -1 cannot work: needs a number >= 0"),
        ({"top_p": 0}, "top_p = 0 cannot work: needs 0 < top_p <= 1"),
        ({"max_tokens": 0}, "max_tokens = 0 cannot work: needs an integer >= 1"),
    ],
)
def test_sampling_options_out_of_range_are_refused(sampling, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**sampling)


def test_options_are_read_as_yaml_and_a_pair_without_a_value_is_refused():
    assert EngineOptions(model="m", engine=("a=2", "b=true", "c=x=y")).engine == {"a": 2, "b": True, "c": "x=y"}
    with pytest.raises(ValueError, match="engine = 'a' cannot work: needs KEY=VALUE"):
        EngineOptions(model="m", engine=("a",))


def test_a_chat_template_is_told_not_to_think_unless_the_user_says_otherwise():
    assert EngineOptions(model="m").template == template_kwargs([]) == {"enable_thinking": False}
    assert template_kwargs(["enable_thinking=true", "level=2"]) == {"enable_thinking": True, "level": 2}
    assert template_kwargs(["none"]) == {}
    with pytest.raises(ValueError, match="template = 'none' cannot work: needs KEY=VALUE"):
        EngineOptions(model="m", template=("none", "level=2"))


def test_engine_arguments_and_servers_exclude_each_other():
    with pytest.raises(ValueError, match=r"engine = {'dtype': 'half'} cannot work with server"):
        EngineOptions(model="m", server=("http://x/v1",), engine={"dtype": "half"})


def test_a_reward_function_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"reward = pkg://tapo.rewards:nothing cannot work"):
        Scorer(RewardOptions(reward_name="nothing"))


def test_the_fingerprint_names_everything_that_decides_about_rollouts(data):
    facts = rollout_fingerprint(options(data), QueryFiles(data))
    assert facts.keys() == {"data", "model", "sampling", "n", "seed", "template", "max_prompt_tokens", "reward"}
