"""What the worker says of its constructions; runs of verl are in tests/e2e."""

import asyncio
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest

from tapo import transfer
from tapo.config import ConfigError, TapoConfig
from tapo.core.attempt import Attempt, Candidate, Response
from tapo.core.check import FunctionCheck
from tapo.core.groups import REF_TAG
from tapo.core.phrases import load_detector
from tapo.core.reconstruction import Spliced
from tapo.rollout.constructed_row import Construction
from tapo.rollout.group_report import GroupReport
from tapo.rollout.worker import TapoAgentLoopWorker


class Boxes:
    """A vocabulary with an answer for a word."""

    all_special_ids = ()

    def decode(self, ids, **options):
        return "".join(("1+1=3", "\\boxed{2}", "5", ".")[token] for token in ids)


class Words:
    """A vocabulary of three words."""

    def decode(self, ids, **options):
        return " ".join(("the", "sum", "is")[token] for token in ids)


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("dumped", [True, False])
def test_the_dump_alone_says_where_each_token_of_a_spliced_text_ends(built, dumped):
    responses = (Response(0, [0, 1], "the sum", 0.0), Response(1, [2], "is", 1.0))
    attempt = Attempt(Candidate([{"role": "user", "content": "Q"}], *responses))
    if built:
        attempt.spliced = Spliced([0, 1, 2], 2, " is", prefix="the sum")
    worker = SimpleNamespace(
        _tapo=SimpleNamespace(keep_prefix=True),
        _dump=SimpleNamespace(path="dump" if dumped else None),
        tokenizer=Words(),
    )
    construction = Construction(SimpleNamespace(uid="u"), 2, None, None, attempt)
    record = TapoAgentLoopWorker._record(worker, construction, 3)
    assert record.token_lengths == ([3, 4, 3] if built and dumped else None)
    assert record.wrong_ids == ([0, 1] if dumped else None)
    assert (record.step, record.uid, record.key, record.query) == (3, "u", "u_ref_2_0", "Q")


def test_rollouts_are_looked_at_for_reflections_in_their_text_and_the_extra_info_of_their_reward(tokenizer):
    def rollout(text, **fields):
        ids = tokenizer.encode(text, add_special_tokens=False)
        return SimpleNamespace(output=SimpleNamespace(response_ids=ids, extra_fields=fields), correctness=0.0)

    rollouts = [
        rollout("1+1=3. Wait, 1+1=2.", reward_extra_info={"needless_reflection": False}),
        rollout("1+1=2. Wait, 1+1=2.", reward_extra_info={"needless_reflection": True}),
        rollout("1+1=2", reward_extra_info=None),
    ]
    judge, report = SimpleNamespace(reward_threshold=0.5), GroupReport()
    worker = SimpleNamespace(tokenizer=tokenizer, _detector=load_detector(), _judge=judge)
    TapoAgentLoopWorker._look_at(worker, SimpleNamespace(rollouts=rollouts, reflects_rightly=False), report)
    assert (report.looked_at, report.reflecting, report.judged_needless, report.needless) == (3, 2, 2, 1.0)


def test_the_check_is_loaded_where_the_worker_starts_and_only_where_the_run_constructs(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("def check(**given):\n    return 'odd'\n", encoding="utf-8")

    def loaded(**options):
        return TapoAgentLoopWorker._check(SimpleNamespace(_tapo=TapoConfig.from_mapping(options)))

    assert isinstance(loaded(construction={"check": f"{file}:check"}), FunctionCheck)
    assert loaded() is None and loaded(enable=False, construction={"check": f"{file}:check"}) is None
    with pytest.raises(ConfigError, match=r"algorithm\.tapo\.construction\.check = '.*own\.py:chekc' cannot work"):
        loaded(construction={"check": f"{file}:chekc"})


async def test_the_tag_of_a_constructed_row_says_where_its_answer_stands(monkeypatch):
    tags = {}

    async def tag_row(key, tag):
        tags[key] = tag

    async def put(self, output, validate, **fields):
        assert fields["uid"] == "u_ref"

    monkeypatch.setattr(transfer, "tag_row", tag_row)
    monkeypatch.setattr(TapoAgentLoopWorker.__mro__[1], "_agent_loop_postprocess", put)
    worker = object.__new__(TapoAgentLoopWorker)
    worker.tokenizer = Boxes()
    responses = (Response(0, [0, 1], "1+1=3 ", 0.0), Response(1, [2], "2", 1.0))
    spliced = Spliced([0, 1, 2, 1, 3], 2, "", prefix="1+1=3\\boxed{2}", correction="5\\boxed{2}.")
    attempt = Attempt(Candidate([], *responses), spliced=spliced)
    wrong = SimpleNamespace(session_id=3, fields={})
    construction = Construction(SimpleNamespace(uid="u"), 8, wrong, None, attempt, output=SimpleNamespace())
    await worker._publish(construction)
    tag = {"source_key": "u_3_0", "prefix_length": 2, "reflection_length": 0, "answer_begin": 3, "answer_length": 1}
    assert tags == {"u_ref_8_0": {REF_TAG: tag}}


class Rows:
    """TransferQueue's tags by key; what is asked for by name raises or hangs instead."""

    def __init__(self, monkeypatch, *, fails=(), hangs=()):
        self.rows, self.fails, self.hangs = {}, fails, hangs
        monkeypatch.setattr(transfer, "tag_row", self.tag_row)
        monkeypatch.setattr(transfer, "delete_row", self.delete_row)
        monkeypatch.setattr(TapoAgentLoopWorker.__mro__[1], "_agent_loop_postprocess", self.put)

    async def _meet(self, name):
        if name in self.hangs:
            await asyncio.sleep(60)
        if name in self.fails:
            raise ConnectionError(f"no {name}")

    async def tag_row(self, key, tag):
        self.rows.setdefault(key, {}).update(tag)
        await self._meet("tag")

    async def put(self, output, validate, **fields):
        await self._meet("put")
        self.rows[f"{fields['uid']}_{fields['session_id']}_0"]["seq_len"] = 5

    async def delete_row(self, key):
        self.rows.pop(key, None)


def publisher():
    worker = object.__new__(TapoAgentLoopWorker)
    worker.tokenizer = Boxes()
    responses = (Response(0, [0, 1], "1+1=3 ", 0.0), Response(1, [2], "2", 1.0))
    attempt = Attempt(Candidate([], *responses), spliced=Spliced([0, 1, 2], 2, "", prefix="1+1=3", correction="5"))
    wrong = SimpleNamespace(session_id=3, fields={})
    return worker, Construction(SimpleNamespace(uid="u"), 8, wrong, None, attempt, output=SimpleNamespace())


@pytest.mark.parametrize("step", ["tag", "put"])
async def test_a_row_is_whole_or_not_there_whatever_fails_while_it_is_put(monkeypatch, step):
    rows, (worker, construction) = Rows(monkeypatch, fails=[step]), publisher()
    with pytest.raises(ConnectionError, match=f"no {step}"):
        await worker._publish(construction)
    assert rows.rows == {}


@pytest.mark.parametrize("step", ["tag", "put"])
async def test_a_row_is_whole_or_not_there_where_its_session_is_cancelled(monkeypatch, step):
    rows, (worker, construction) = Rows(monkeypatch, hangs=[step]), publisher()
    publishing = asyncio.ensure_future(worker._publish(construction))
    while not rows.rows:
        await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert rows.rows == {}


@pytest.mark.parametrize("fails", [[], ["tag"]])
async def test_counts_that_cannot_be_reported_cost_the_group_nothing(monkeypatch, caplog, fails):
    rows, (worker, _) = Rows(monkeypatch, fails=fails), publisher()
    monkeypatch.setattr(TapoAgentLoopWorker, "_build_and_publish", AsyncMock())
    await worker._construct(SimpleNamespace(uid="u", first_session=2), 1)
    assert list(rows.rows) == ["u_2_0"] and ("the counts of group u are lost" in caplog.text) is bool(fails)
