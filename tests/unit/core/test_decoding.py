"""Decoding up to a text, in one request or in pieces."""

import asyncio

import pytest

from tapo.core.asking import TokenBudget, room_for_answer
from tapo.core.decoding import Decoding, Usage
from tapo.core.funnel import ConstructionError

END = 9


class Digits:
    """A vocabulary of ten digits; 9 ends a turn."""

    def decode(self, ids, **options):
        return "".join(str(token) for token in ids if token != END)


def run(answer, *, piece=None, most=10, until=None):
    """(what was decoded, tokens counted, the requests) where an engine would say `answer` behind [1, 2]."""
    requests, usage = [], Usage()

    async def sample(request):
        requests.append((list(request.prompt_ids), request.most, request.until))
        begin = len(request.prompt_ids) - 2
        return answer[begin : begin + request.most]

    decoding = Decoding(Digits(), lambda ids: bool(ids) and ids[-1] == END, piece)
    return asyncio.run(decoding.run(sample, [1, 2], most, until, usage)), usage, requests


def test_a_whole_answer_takes_one_request():
    decoded, usage, requests = run([3, 4, END])
    assert decoded == ([3, 4, END], True) and usage == Usage(prompt=2, decoded=3)
    assert requests == [([1, 2], 10, None)]


def test_each_piece_is_asked_for_behind_the_one_before():
    decoded, usage, requests = run([3, 4, 5, 6, END], piece=2)
    assert decoded == ([3, 4, 5, 6, END], True) and usage == Usage(prompt=2 + 4 + 6, decoded=5)
    assert requests == [([1, 2], 2, None), ([1, 2, 3, 4], 2, None), ([1, 2, 3, 4, 5, 6], 2, None)]


def test_pieces_end_with_the_one_that_holds_the_text_or_fills_the_room():
    assert run([3, 4, 5, 6, 7, 8], piece=2, until="45")[0] == ([3, 4, 5, 6], False)
    assert run([3, 4, 5, 6, 7, 8], piece=2, most=5)[0] == ([3, 4, 5, 6, 7], False)
    assert run([3, 4, 5], piece=2, until="8")[0] == ([3, 4, 5], False)


def test_the_room_is_what_the_engine_has_and_never_less_than_an_answer_needs():
    assert room_for_answer(100, 20, max_tokens=50, max_model_len=140) == 40
    assert room_for_answer(100, 80, max_tokens=50, max_model_len=150) == 50
    for prompt, least in ((100, 41), (140, 1), (200, 1)):
        with pytest.raises(ConstructionError, match="does_not_fit"):
            room_for_answer(prompt, least, max_tokens=50, max_model_len=140)


def test_an_analysis_has_what_the_answer_has_more_than_a_response_and_half_a_response_at_least():
    assert TokenBudget(8192, 32768, 8192 + 1024).analysis == 1024
    assert TokenBudget(192, 1024, 288).analysis == 96
    assert TokenBudget(8192, 32768, 8192 + 4096).analysis == 4096
    assert TokenBudget(8192, 32768, 4096).analysis == 1024
