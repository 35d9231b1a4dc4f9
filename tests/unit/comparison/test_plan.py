import pytest

from tapo.comparison.jobs import jobs_of
from tapo.comparison.plan import read_plan

PLAN = """
statement: One against the other.
out: {out}
seeds: [1, 2]
against: grpo
steps: 4
command: train {{plan}}/config --out {{out}} seed={{seed}} steps={{steps}} home=${{HOME}} 'two words' '{{a:1}}'
environment: {{PLATFORM: cpu, FLAG: true, SIZE: 3}}
runs:
  grpo: {{}}
  tapo: {{overrides: ["+tapo=default", "dump={{out}}/dump"], environment: {{SIZE: 4}}, steps: 8}}
  collect: {{shown: false}}
  sft: {{command: bash sft.sh, environment: {{DUMP: "{{run:collect}}/dump"}}}}
"""


def write(tmp_path, text=PLAN, more=""):
    path = tmp_path / "plan.yaml"
    path.write_text(text.format(out=tmp_path / "out") + more)
    return path


def jobs(path):
    return {job.name: job for job in jobs_of(read_plan(path))}


def test_places_are_filled_in_word_by_word_and_others_braces_are_left_alone(tmp_path):
    grpo = jobs(write(tmp_path))["grpo/seed-2"]
    out = str(tmp_path / "out" / "grpo" / "seed-2")
    assert grpo.command == (
        "train",
        f"{tmp_path}/config",
        "--out",
        out,
        "seed=2",
        "steps=4",
        "home=${HOME}",
        "two words",
        "{a:1}",
    )
    assert grpo.environment == {"PLATFORM": "cpu", "FLAG": "true", "SIZE": "3"}


def test_a_run_overrides_the_plan_and_needs_what_it_names(tmp_path):
    found = jobs(write(tmp_path))
    tapo, sft = found["tapo/seed-1"], found["sft/seed-1"]
    assert tapo.command[-2:] == ("+tapo=default", f"dump={tmp_path}/out/tapo/seed-1/dump")
    assert "steps=8" in tapo.command and tapo.environment["SIZE"] == "4"
    assert sft.needs == ("collect/seed-1",)
    assert sft.environment["DUMP"] == f"{tmp_path}/out/collect/seed-1/dump"
    assert found["collect/seed-1"].shown is False
    assert list(found)[:5] == ["grpo/seed-1", "tapo/seed-1", "collect/seed-1", "sft/seed-1", "grpo/seed-2"]


def test_groups_repeat_the_runs_under_their_own_variables(tmp_path):
    more = """
groups:
  rare: {environment: {MODEL: a, SIZE: 5}}
  frequent: {environment: {MODEL: b}, overrides: ["last={group}"], runs: [grpo, tapo]}
"""
    found = jobs(write(tmp_path, more=more))
    assert len(found) == 2 * 4 + 2 * 2
    assert found["rare/tapo/seed-1"].environment["SIZE"] == "4"  # the run's own goes before the group's
    assert found["rare/grpo/seed-1"].environment["SIZE"] == "5"
    assert found["frequent/tapo/seed-2"].command[-1] == "last=frequent"
    assert found["rare/sft/seed-1"].environment["DUMP"] == f"{tmp_path}/out/rare/collect/seed-1/dump"


def test_the_order_may_be_by_runs(tmp_path):
    found = jobs(write(tmp_path, more="order: runs\n"))
    assert list(found)[:3] == ["grpo/seed-1", "grpo/seed-2", "tapo/seed-1"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "against: grpo",
            "against: ppo",
            "against = 'ppo' cannot work: needs a run of the plan: grpo, tapo, collect, sft",
        ),
        ("statement: One against the other.", "statement: ''", "statement = '' cannot work: needs a sentence"),
        ("seeds: [1, 2]", "seeds: []", "seeds"),
        ("seeds: [1, 2]", "seeds: [1, 1]", r"seeds = \(1, 1\) cannot work: needs different ones"),
        ("{{run:collect}}", "{{run:colect}}", "runs.sft.needs = 'colect' cannot work"),
        ("seed={{seed}}", "seed={{sed}}", r"runs.grpo.command = '\{sed\}' cannot work: known are \{plan\}, \{seed\}"),
        ("shown: false", "show: false", "runs.collect.show = False cannot work: no such option"),
        (
            "collect: {{shown: false}}",
            "collect: {{needs: [sft]}}",
            "runs.collect.needs = .* needs runs that do not need it",
        ),
        ("steps: 4", "steps: 0", "steps = 0 cannot work: needs an integer >= 1"),
        ("'two words'", "'two words", "needs a line that a shell could split"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_with_key_and_reason(tmp_path, old, new, message):
    assert old in PLAN
    with pytest.raises(ValueError, match=message):
        jobs(write(tmp_path, PLAN.replace(old, new, 1)))


def test_a_group_must_hold_what_its_runs_need(tmp_path):
    with pytest.raises(ValueError, match=r"groups\.g\.runs = .* needs collect too, since sft needs it"):
        jobs(write(tmp_path, more="groups: {g: {runs: [grpo, sft]}}\n"))


def test_a_file_that_is_no_plan_is_named(tmp_path):
    (tmp_path / "plan.yaml").write_text("- a")
    with pytest.raises(ValueError, match="needs a mapping of statement"):
        read_plan(tmp_path / "plan.yaml")
    with pytest.raises(ValueError, match="cannot be read"):
        read_plan(tmp_path / "none.yaml")


def test_what_a_run_was_started_from_covers_inputs_and_what_it_needs_but_not_where_it_lies(tmp_path):
    (tmp_path / "config.yaml").write_text("a: 1")
    more = 'inputs: ["{plan}/config.yaml"]\n'
    before = jobs(write(tmp_path, more=more))
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "config.yaml").write_text("a: 1")
    assert jobs(write(moved, more=more))["sft/seed-1"].specification == before["sft/seed-1"].specification
    (tmp_path / "config.yaml").write_text("a: 2")
    after = jobs(write(tmp_path, more=more))
    assert after["grpo/seed-1"].specification != before["grpo/seed-1"].specification
    changed = jobs(write(tmp_path, PLAN.replace("shown: false", "shown: false, steps: 5"), more))
    assert changed["grpo/seed-1"].specification == after["grpo/seed-1"].specification
    assert changed["sft/seed-1"].specification != after["sft/seed-1"].specification
    with pytest.raises(ValueError, match="inputs = 'none' cannot work: needs a file that can be read"):
        jobs(write(tmp_path, more="inputs: [none]\n"))
