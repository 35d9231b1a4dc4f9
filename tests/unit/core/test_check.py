"""A check of the user's own: what it is told, what it may say, and what becomes of it when it fails."""

import asyncio
import time

import pytest

from tapo.core.attempt import Attempt, Candidate, Response
from tapo.core.check import FunctionCheck
from tapo.core.construct import Constructor
from tapo.core.funnel import ConstructionError
from tapo.core.objections import named, objects
from tapo.core.reconstruction import Spliced

PARTS = [{"type": "text", "text": "How "}, {"type": "image", "image": "i"}, {"type": "text", "text": "many?"}]


def attempt(query="How many?", is_correct=True):
    responses = (Response(0, [0, 1], "1+1=3", 0.0), Response(1, [2], "2", 1.0))
    prompt = [{"role": "system", "content": "S"}, {"role": "user", "content": query}]
    spliced = Spliced([0, 1, 2], 1, "Wait, no.\n", prefix="1+1=3\n", correction="1+1=2")
    return Attempt(Candidate(prompt, *responses), spliced=spliced, is_correct=is_correct)


def said(function, given=None, **options):
    return asyncio.run(FunctionCheck(function, **options)(given or attempt()))


@pytest.mark.parametrize("query", ["How many?", PARTS])
def test_a_check_is_told_the_query_the_three_texts_and_whether_the_answer_is_correct(query):
    told = {}
    assert said(lambda **given: told.update(given), attempt(query, is_correct=False)) == ""
    assert told == {
        "query": "How many?",
        "prefix": "1+1=3\n",
        "reflection": "Wait, no.\n",
        "correction": "1+1=2",
        "is_correct": False,
    }


@pytest.mark.parametrize(("returned", "verdict"), [(None, ""), ("", ""), ("false_step", "false_step"), ("a" * 32,) * 2])
def test_a_label_or_nothing_is_the_verdict_of_a_plain_and_of_a_coroutine_function(returned, verdict):
    async def coroutine(**given):
        return returned

    assert said(lambda **given: returned) == said(coroutine) == verdict


@pytest.mark.parametrize("returned", ["False step", "a" * 33, True, 3, ["x"], "objected", "faithful_share"])
def test_what_is_no_label_is_an_error_and_said_once(returned, caplog):
    check = FunctionCheck(lambda **given: returned)
    assert [asyncio.run(check(attempt())) for _ in range(2)] == ["error", "error"]
    [record] = caplog.records
    assert "construction.check failed (ValueError: it returned" in record.message


def test_a_check_that_raises_or_takes_too_long_is_an_error(caplog):
    def raises(**given):
        raise KeyError("edge")

    assert said(raises) == "error"
    assert said(lambda **given: time.sleep(0.3), timeout_s=0.05) == "error"
    assert ["KeyError: 'edge'" in caplog.records[0].message, "TimeoutError" in caplog.records[1].message] == [True] * 2


def test_an_error_and_a_check_that_was_not_asked_are_no_objections():
    assert [objects(word) for word in (None, "", "error", "false_step")] == [False, False, False, True]
    assert [named(word) for word in ("", "error")] == ["no_objection", "error"]


def judged(verdict, *, is_correct=True, drop=False, keep_failed=True):
    async def check(attempt):
        return verdict

    constructor = Constructor(None, "", {}, keep_failed=keep_failed, check=check, drop_objected=drop)
    one = attempt(is_correct=is_correct)
    try:
        asyncio.run(constructor.judge(one))
    except ConstructionError as error:
        return one.check, error.reason
    return one.check, None


def test_an_objection_drops_a_construction_only_where_it_is_asked_to():
    assert judged("false_step") == ("false_step", None)
    assert judged("false_step", drop=True) == ("false_step", "check")
    assert judged("", drop=True) == ("", None)
    assert judged("error", drop=True) == ("error", None)
    assert judged("false_step", is_correct=False, drop=True) == ("false_step", "check")
    assert judged("false_step", is_correct=False, drop=True, keep_failed=False) == ("false_step", "wrong_answer")


def test_without_a_check_nothing_is_said():
    one = attempt()
    asyncio.run(Constructor(None, "", {}, keep_failed=True).judge(one))
    assert (one.check, one.reached[-1]) == (None, "correct")
