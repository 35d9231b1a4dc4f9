"""Pass@k: the chance that at least one of k samples is correct, estimated without bias from n samples."""

import math
from numbers import Integral


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
    # A product of k factors stays exact where the binomials themselves overflow.
    return 1.0 - math.prod(max(n - c - drawn, 0) / (n - drawn) for drawn in range(k))
