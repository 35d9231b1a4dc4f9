import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapo.evaluation import pass_at_k


@pytest.mark.parametrize("n", range(1, 7))
def test_pass_at_k_agrees_with_enumeration(n):
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_agrees_with_exact_binomials_on_random_counts(counts):
    n, c, k = counts
    missing = math.comb(n, k) - math.comb(n - c, k)
    assert pass_at_k(n, c, k) == pytest.approx(missing / math.comb(n, k), abs=1e-9)


def test_pass_at_k_is_certain_once_fewer_than_k_are_wrong():
    assert pass_at_k(5, 3, 3) == 1.0
    assert pass_at_k(16, 0, 16) == 0.0
    assert [pass_at_k(4, c, 2) for c in (0, 1, 4)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((4, 2, 5), r"k = 5 cannot work: needs an integer in 1\.\.4 \(n = 4\)"),
        ((4, 5, 1), r"c = 5 cannot work: needs an integer in 0\.\.4"),
        ((0, 0, 1), r"n = 0 cannot work: needs an integer >= 1"),
        ((4, 2.0, 1), r"c = 2\.0 cannot work"),
        ((4, 2, True), r"k = True cannot work"),
    ],
)
def test_impossible_counts_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        pass_at_k(*counts)
