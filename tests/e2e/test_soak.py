"""A short soak (`python -m tests.soak` makes longer ones): faults everywhere, kills, and what must stay true."""

import pytest

from tests.soak.__main__ import soak
from tests.soak.invariants import faults_of


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "colocate_async"])
def test_faults_and_kills_lose_no_row_and_leave_rollouts_their_advantages(tmp_path, mode):
    unbroken, broken, wrong = soak(tmp_path, mode, steps=8, kills=2, seed=1)
    assert wrong == []
    assert faults_of(unbroken.folder).total() > 20
    assert broken.kills["run"] + broken.kills["agent-loop worker"] > 0 and unbroken.kills["verifier's child"] > 4
