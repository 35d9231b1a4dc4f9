"""What the worker says of its constructions; runs of verl are in tests/e2e."""

from types import SimpleNamespace

import pytest

from tapo.core.construct import Attempt, Candidate, Response
from tapo.core.reconstruction import Spliced
from tapo.rollout.construction import Construction
from tapo.rollout.worker import TapoAgentLoopWorker


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
