"""What a group reports of its rollouts."""

import numpy as np

from tapo.rollout.group_report import GroupReport
from tapo.trainer.metrics import rollout_metrics


def test_the_shares_of_a_step_are_over_the_rollouts_of_all_its_groups():
    first, second = GroupReport(), GroupReport()
    for reflects, info in ((True, {"needless_reflection": True}), (False, {"needless_reflection": np.float64(0)})):
        first.look_at(reflects=reflects, reward_info=info)
    for info in ({}, {"needless_reflection": None}, {"acc": 1.0}):
        second.look_at(reflects=False, reward_info=info)
    total = GroupReport.total_of(GroupReport.from_tag(report.to_tag()) for report in (first, second))
    assert rollout_metrics(total) == {
        "tapo/rollouts/reflection_rate": 1 / 5,
        "tapo/rollouts/needless_reflection": 1 / 2,
    }


def test_without_rollouts_or_a_reward_that_tells_there_is_no_share():
    assert rollout_metrics(GroupReport()) == {}
    report = GroupReport()
    report.look_at(reflects=True, reward_info={})
    assert rollout_metrics(report) == {"tapo/rollouts/reflection_rate": 1.0}
