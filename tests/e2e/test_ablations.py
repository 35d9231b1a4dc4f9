"""Every ablation and control of the config group in the real verl, two steps of each in one run."""

from collections import defaultdict

import pytest
import torch
import yaml

from tests.e2e import sweep
from tests.e2e.harness import ROLLOUTS, ROOT, launch

GROUP = ROOT / "tapo" / "conf" / "tapo"
CONTROLS = ["coupled", "extra_correct"]
ABLATIONS = [
    "paper",
    "no_ots",
    "no_negatives",
    "failed_contrast",
    "full_reconstruction",
    "strict_thresholds",
    "loose_thresholds",
    "m_max_1",
    *CONTROLS,
]


class Part:
    """What a run did with one of its settings."""

    def __init__(self, run, number):
        self.steps = {step: run.steps[step] for step in sweep.steps_of(number)}
        self.constructions = [row for row in run.constructions() if row["step"] in self.steps]
        self.kept = {row["key"]: row for row in self.constructions if row["outcome"] == "trained"}
        trained = [row for row in run.trained() if row["step"] in self.steps]
        self.rows = {row["key"]: row for row in trained if row["constructed"]}
        self.groups = defaultdict(list)
        for row in trained:
            if not row["constructed"]:
                self.groups[row["uid"]].append(row)

    def constructed(self):
        """{query: its constructed rows}"""
        groups = defaultdict(list)
        for row in self.rows.values():
            groups[row["uid"].removesuffix("_ref")].append(row)
        return groups

    def eligible(self, n_pos, n_neg):
        correct = [sum(row["reward"] > 0.5 for row in rows) for rows in self.groups.values()]
        return sum(n_pos <= n <= ROLLOUTS - n_neg for n in correct)

    def logged(self, name):
        """A metric's values in the steps that had constructed rows to log it of: at least one."""
        values = [metrics[name] for metrics in self.steps.values() if metrics["tapo/construct/trained"]]
        assert values
        return values

    def summed(self, name):
        return sum(metrics[name] for metrics in self.steps.values())


def run_of(folder, data, names):
    """{name: what became of it}, in a run of small steps."""
    settings = [yaml.safe_load((GROUP / f"{name}.yaml").read_text())["algorithm"]["tapo"] for name in names]
    line = (
        "data.train_batch_size=6",
        "actor_rollout_ref.actor.ppo_mini_batch_size=3",
        "algorithm.tapo.ref.grad_norms_every=2",
        f"trainer.total_training_steps={sweep.STEPS * len(names)}",
        "trainer.total_epochs=9",
    )
    environment = sweep.environment(settings)
    run = launch(folder, data, *line, *sweep.ARGUMENTS, environment=environment, timeout_s=600 + 60 * len(names))
    assert list(run.steps) == list(range(1, sweep.STEPS * len(names) + 1))
    return {name: Part(run, number) for number, name in enumerate(names)}


@pytest.fixture(scope="module")
def controls(tmp_path_factory, data):
    return run_of(tmp_path_factory.mktemp("controls"), data, CONTROLS)


@pytest.fixture(scope="module")
def parts(tmp_path_factory, data):
    return run_of(tmp_path_factory.mktemp("ablations"), data, ABLATIONS)


def normalised(rewards, members):
    members = torch.tensor(members)
    return [(reward - members.mean().item()) / (members.std().item() + 1e-6) for reward in rewards]


def assert_both_kinds_have_one_mean_and_one_std(part):
    assert part.rows
    for query, constructed in part.constructed().items():
        rows = part.groups[query] + constructed
        rewards = [row["reward"] for row in rows]
        assert [row["advantage"] for row in rows] == pytest.approx(normalised(rewards, rewards), abs=1e-5)


def assert_rows_are_their_siblings(part):
    assert part.rows and part.summed("tapo/tokens/construct_generated") == 0
    assert part.rows.keys() == part.kept.keys() == {row["key"] for row in part.constructions}
    for key, row in part.rows.items():
        assert row["reward"] > 0.5 and part.kept[key]["correction"] == part.kept[key]["correct"]
    for metrics in part.steps.values():
        assert metrics["tapo/construct/trained"] == metrics["tapo/construct/attempted"]
    assert set(part.logged("tapo/ref/reward/mean")) == {1.0}


@pytest.mark.slow
def test_coupled_rows_of_both_kinds_have_one_mean_and_one_std(controls):
    assert_both_kinds_have_one_mean_and_one_std(controls["coupled"])


@pytest.mark.slow
def test_an_extra_correct_row_is_the_sibling_itself_and_costs_no_token(controls):
    assert_rows_are_their_siblings(controls["extra_correct"])


@pytest.mark.slow
def test_the_gradient_norm_of_each_loss_is_logged_where_asked_for(controls):
    for part in controls.values():
        first, second = part.steps.values()
        names = [name for name in second if "grad_norm" in name]
        assert sorted(names) == ["actor/grad_norm", "tapo/grad_norm/construct", "tapo/grad_norm/rollouts"]
        assert all(0 < second[name] < float("inf") for name in names)
        # The norms of two gradients bound that of their sum; each is a mean over the step's mini-batches.
        assert second["actor/grad_norm"] <= (1 + 1e-4) * sum(second[name] for name in names if "tapo/" in name)
        assert not [name for name in first if name.startswith("tapo/grad_norm")]


@pytest.mark.slow
def test_each_ablation_changes_what_it_says(parts):
    for name, part in parts.items():
        # A dozen queries need not hold one in the narrowest window.
        assert part.rows or name == "strict_thresholds"
        assert all(metrics["actor/grad_norm"] > 0 for metrics in part.steps.values())
    assert {*parts["no_ots"].logged("tapo/ots/weight/min"), *parts["no_ots"].logged("tapo/ots/weight/max")} == {1.0}
    assert max(parts["paper"].logged("tapo/ots/weight/min")) < 1
    assert set(parts["full_reconstruction"].logged("tapo/construct/prefix_fraction/mean")) == {0}
    one = parts["m_max_1"]
    assert one.summed("tapo/construct/attempted") == one.summed("tapo/groups/eligible") > 0
    for name, thresholds in (("strict_thresholds", (3, 4)), ("loose_thresholds", (1, 2))):
        assert parts[name].summed("tapo/groups/eligible") == parts[name].eligible(*thresholds)
    assert_both_kinds_have_one_mean_and_one_std(parts["coupled"])
    assert_rows_are_their_siblings(parts["extra_correct"])


@pytest.mark.slow
def test_the_contrast_is_what_each_ablation_says(parts):
    source = {row["key"]: row["wrong_reward"] for row in parts["paper"].constructions}
    for name, with_sources in (("paper", True), ("no_negatives", False), ("failed_contrast", False)):
        for rows in parts[name].constructed().values():
            rewards = [row["reward"] for row in rows]
            members = rewards + [source[row["key"]] for row in rows] if with_sources else rewards
            expected = normalised(rewards, members) if len(set(members)) > 1 else [0.0] * len(rows)
            assert [row["advantage"] for row in rows] == pytest.approx(expected, abs=1e-5)
    negatives = parts["no_negatives"]
    assert all(row["reward"] > 0.5 for row in negatives.rows.values())
    assert negatives.summed("tapo/ref/dead_groups") == len(negatives.constructed())
