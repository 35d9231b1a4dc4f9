"""What the chats take over from the rollouts: prompts, reward, chat template, end of turn."""

import asyncio
import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tapo.cli import app
from tapo.cold_start.chats import TEMPLATE_KEY, end_token, write_chats
from tapo.cold_start.construct import ConstructionTask
from tapo.cold_start.options import Limits, Recipe
from tapo.cold_start.store import KEPT, ConstructionStore
from tapo.core.form import PAPER_FORM
from tapo.core.prompts import CONSTRUCTION_PROMPT, construction_messages
from tapo.data.rollout_store import RolloutStore
from tapo.generation.scoring import RewardOptions, Scorer
from tests.stand_ins.cold_start import TEACHER, Script, construct, rollouts
from tests.stand_ins.texts import ANSWER, QUERY, RECONSTRUCTION, RIGHT, WRONG


def test_rollouts_of_another_chat_template_or_reward_are_refused(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("tapo.cold_start.build.load_tokenizer", lambda model: tokenizer)
    (tmp_path / "teacher.py").write_text(TEACHER.format(answer=ANSWER))
    facts = {"template": {"enable_thinking": True}, "reward": "mine.py:compute_score {}"}
    RolloutStore.open_for_append(tmp_path / "rollouts", facts).append([rollouts(tokenizer)])
    command = ["cold-start", "build", str(tmp_path / "rollouts"), "--model", "name/model", "--out", str(tmp_path / "o")]
    command += ["--answers", f"{tmp_path}/teacher.py:answer"]
    message = (
        r"do not fit together: reward = 'mine.py.* then, 'pkg://tapo.rewards.* now; template.enable_thinking = True"
    )
    with pytest.raises(ValueError, match=message):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_chats_carry_the_users_own_prompts_and_what_their_template_was_given(tokenizer, tmp_path):
    prompt = [{"role": "system", "content": "Answer in apples."}, *QUERY]
    row = replace(rollouts(tokenizer), prompt=prompt)
    store = ConstructionStore.open_for_append(tmp_path / "constructions", {})
    store.append([construct(tokenizer, Script(ANSWER), row)])
    recipe, sampled = Recipe(sft=2, ift=1, val_share=0), {TEMPLATE_KEY: {"enable_thinking": False}}
    write_chats(store, recipe, tmp_path, {PAPER_FORM: CONSTRUCTION_PROMPT}, sampled)
    table = pq.read_table(tmp_path / "train.parquet")
    assert table.schema.metadata[TEMPLATE_KEY] == b'{"enable_thinking": false}'
    chats = {chat["kind"]: chat["messages"] for chat in table.to_pylist()}
    assert chats["reflective"] == [*prompt, {"role": "assistant", "content": RECONSTRUCTION}]
    assert chats["plain"] == [*prompt, {"role": "assistant", "content": RIGHT}]
    assert chats["construction"] == [
        prompt[0],
        *construction_messages(QUERY, wrong=WRONG, correct=RIGHT),
        {"role": "assistant", "content": ANSWER},
    ]


def test_the_token_that_ends_turns_is_the_one_that_responses_end_with(tokenizer, tmp_path):
    end = tokenizer.pad_token_id
    store = RolloutStore.open_for_append(tmp_path / "s", {})
    row = rollouts(tokenizer, reasons=("stop", "stop", "length"))
    ended = [[*ids[:-1], end] for ids in row.response_ids[:2]]
    store.append([replace(row, response_ids=[*ended, row.response_ids[2]])])
    assert end_token([store]) == end
    text = RolloutStore.open_for_append(tmp_path / "t", {})
    text.append([replace(row, response_ids=[[1, 2], [3, 4], [5]])])
    assert end_token([text]) is None


def test_constructions_are_scored_with_what_the_rollouts_were_scored_with(tokenizer, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def compute_score(data_source, solution_str, ground_truth, extra_info):\n"
        "    return float(ground_truth == 45 and extra_info['unit'] == 'apples' and '45' in solution_str)\n"
    )
    inputs = json.dumps({"ground_truth": 45, "extra_info": {"unit": "apples"}})
    row = replace(rollouts(tokenizer), reward_inputs=inputs)
    scorer = Scorer(RewardOptions(reward_path=str(tmp_path / "mine.py")))
    task = ConstructionTask(Script(ANSWER), scorer, tokenizer, CONSTRUCTION_PROMPT, Limits(), seed=3)
    assert asyncio.run(task(row)).outcome == KEPT
