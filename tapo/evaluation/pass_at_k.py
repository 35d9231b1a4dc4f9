"""Pass@k: the chance that at least one of k samples is correct, estimated without bias from n samples."""

from numbers import Integral

import numpy as np


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate 1 - C(n-c, k) / C(n, k) for one problem (Chen et al., arXiv 2107.03374, eq. 1).

    Args:
        n: samples drawn.
        c: correct ones among them.
        k: samples a user would draw; at most n, since the estimate needs k distinct samples.

    Returns:
        A probability in [0, 1].

    Raises:
        ValueError: a value is no integer, n < 1, c outside 0..n, or k outside 1..n.
    """
    for name, value, least, most in (("n", n, 1, None), ("c", c, 0, n), ("k", k, 1, n)):
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or value < least or (most is not None and value > most):
            bound = f"an integer >= {least}" if most is None else f"an integer in {least}..{most} (n = {n})"
            raise ValueError(f"{name} = {value!r} cannot work: needs {bound}")
    return float(pass_at_k_of_problems(np.array([n]), np.array([c]), int(k))[0])


def pass_at_k_of_problems(n_P: np.ndarray, c_P: np.ndarray, k: int) -> np.ndarray:
    """`pass_at_k` of many problems at once.

    Args:
        n_P: samples of each problem, [P]; each at least k.
        c_P: correct ones, [P].
        k: as in `pass_at_k`.

    Returns:
        float64 [P].
    """
    assert k >= 1 and np.all(n_P >= k)
    assert np.all((c_P >= 0) & (c_P <= n_P))
    wrong_P = (n_P - c_P).astype(float)
    # A product of k factors stays exact where the binomials themselves overflow; the factor that reaches zero makes
    # the later, negative ones harmless.
    all_wrong_P = np.ones(len(n_P))
    for drawn in range(k):
        all_wrong_P *= np.maximum(wrong_P - drawn, 0) / (n_P - drawn)
    return 1 - all_wrong_P
