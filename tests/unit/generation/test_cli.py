"""`tapo rollout` on a user's own parquet files: what is said of rows that it cannot use, and when no engine starts."""

import pytest
from typer.testing import CliRunner

from tapo.cli import app
from tapo.data.rollout_store import RolloutStore
from tapo.generation.options import EngineOptions
from tests.stand_ins.queries import Engine, row, write

REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info):
    return float(extra_info["unit"] == "cm" and data_source == "mine")
"""


@pytest.fixture
def rollout(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("tapo.generation.run_rollouts.load_tokenizer", lambda model: tokenizer)

    def run(*arguments):
        engines = []

        def start(self, tokenizer, max_model_len):
            engines.append(Engine(tokenizer))
            return engines[-1]

        monkeypatch.setattr(EngineOptions, "start", start)
        command = ["rollout", *map(str, arguments), "--model", "name/model", "--out", str(tmp_path / "s"), "--n", "2"]
        output = CliRunner().invoke(app, command, catch_exceptions=False).output
        return " ".join(output.split()), len(engines)

    run.store = lambda: list(RolloutStore.open(tmp_path / "s"))
    return run


def test_rows_that_are_left_out_are_counted_and_said_with_their_reason(rollout, tmp_path):
    few_shot = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
    rows = [row("tools", agent_name="tool_agent"), row("a"), row("a"), row("a", extra_info={"index": 1})]
    more = [row("empty", ""), row(prompt=few_shot), row("long " * 50, extra_info={"index": 9})]
    files = [write(tmp_path / "1.parquet", rows), write(tmp_path / "2.parquet", more)]
    output, engines = rollout(*files, "--max-prompt-tokens", "60")
    for said in (
        "1 of 7 rows of",
        "are left out: agent_name is not single_turn_agent (1 rows)",
        "1 of 7 rows of",
        "repeat a query, which is sampled once",
        "1 of 5 queries have prompt and answer of another one under another index or extra_info: each is sampled",
        "1 queries (s/0/",
        "have other turns than system messages before the question",
        "left out, with an empty reward_model.ground_truth",
        "1 queries (s/9) left out, with prompts of more than 60 tokens",
        "3 queries sampled",
    ):
        assert said in output, said
    assert engines == 1 and len(rollout.store()) == 3
    again, engines = rollout(*files, "--max-prompt-tokens", "60")
    assert "holds rollouts of all queries that can be sampled, 3 of 5" in again and engines == 0


def test_a_reward_of_ones_own_scores_rows_without_an_answer_and_columns_may_be_renamed(rollout, tmp_path):
    (tmp_path / "mine.py").write_text(REWARD)
    rows = [row("a", "", extra_info={"index": 0, "unit": "cm"}), row("b", "", extra_info={"index": 1, "unit": "in"})]
    for each in rows:
        each["chat"], each["kind"] = each.pop("prompt"), each.pop("data_source").replace("s", "mine")
    path = write(tmp_path / "1.parquet", rows)
    keys = ["--prompt-key", "chat", "--reward-fn-key", "kind"]
    output, _ = rollout(path, *keys, "--reward-path", tmp_path / "mine.py")
    assert "2 queries sampled" in output and "left out" not in output
    assert [stored.scores for stored in rollout.store()] == [[1.0, 1.0], [0.0, 0.0]]


def test_a_reward_that_does_not_know_the_data_is_refused_before_an_engine_starts(rollout, tmp_path):
    path = write(tmp_path / "1.parquet", [row("a")])
    with pytest.raises(ValueError, match=r"verl's own cannot work for data_source = 's'"):
        rollout(path, "--reward-path", "verl")
    assert rollout.store() == []
