"""Rows of a store of rollouts."""

from tapo.data.rollout_store import QueryRollouts


def row(number: int) -> QueryRollouts:
    return QueryRollouts(
        index=f"q{number:05d}",
        data_source="test",
        prompt=[{"role": "user", "content": f"question {number} \u03c0"}],
        ground_truth=str(number),
        responses=[rf"first {number} " * 20 + rf"\boxed{{{number}}}", ""],
        response_ids=[list(range(number, number + 60)), []],
        finish_reasons=["stop", "length"],
        scores=[1.0, 0.0],
    )
