"""What is refused of a run, and what starts as it is."""

import json
import random
import subprocess
import sys

import pytest
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY, AdvantageEstimator

from tapo import run
from tapo.config import ConfigError
from tapo.files.model_folder import FORM_FILE
from tapo.launch.checks import TRAINER_MODES, CheckBeforeRay, check_run
from tests.stand_ins.trainer import composed
from tests.stand_ins.weights import NO_TENSORS


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+algorithm.tapo.n_poz=1"], r"algorithm\.tapo\.n_poz"),
        (["algorithm.tapo.ots.low=-1"], r"ots\.low = -1"),
        (
            ["actor_rollout_ref.rollout.n=5", "algorithm.tapo.n_pos=2", "algorithm.tapo.n_neg=4"],
            r"rollout\.n = 5 cannot work: needs at least n_pos \+ n_neg = 2 \+ 4",
        ),
        (["actor_rollout_ref.rollout.n=1"], r"rollout\.n = 1 cannot work: needs at least 2"),
        (["algorithm.adv_estimator=gae"], r"adv_estimator = 'gae' cannot work: it needs a critic"),
        (["trainer.v1.trainer_mode=my_own"], r"trainer_mode = 'my_own' cannot work: allowed are sync, "),
        (["trainer.use_v1=false"], r"use_v1 = False"),
        (["+async_training.staleness_threshold=0.5"], r"async_training = .*main_ppo alone"),
        (["+rollout.nnodes=1"], r"rollout = .*main_ppo alone"),
        (["critic.enable=true"], r"critic\.enable = True"),
        (["distillation.enabled=true"], r"distillation\.enabled"),
        (["skip.rollout_tq.enable=true"], r"rollout_tq\.enable = True"),
        (["reward.reward_model.enable=true"], r"reward_model\.enable = True .*enable_resource_pool=true"),
        (["actor_rollout_ref.rollout.enable_rollout_routing_replay=true"], r"routing_replay = True"),
        (
            ["actor_rollout_ref.rollout.agent.agent_loop_manager_class=null"],
            r"agent_loop_manager_class = None .*TapoAgentLoopManager",
        ),
        (
            ["algorithm.tapo.advantage=coupled", "algorithm.adv_estimator=rloo"],
            r"algorithm\.adv_estimator = 'rloo' .*advantage=coupled .* it needs algorithm\.adv_estimator=grpo",
        ),
        (
            ["algorithm.tapo.ref.grad_norms_every=5", "actor_rollout_ref.actor.strategy=megatron"],
            r"actor\.strategy = 'megatron' .*grad_norms_every .* fsdp and fsdp2",
        ),
        (
            ["algorithm.tapo.construction.check=nowhere.py:check"],
            r"algorithm\.tapo\.construction\.check = 'nowhere\.py:check' cannot work: needs FILE\.py:NAME of",
        ),
        (
            ["algorithm.tapo.construction.check_action=keep"],
            r"algorithm\.tapo\.construction\.check_action = 'keep' cannot work: allowed are count, drop",
        ),
        (
            ["actor_rollout_ref.rollout.agent.agent_loop_manager_class=no.such.Manager"],
            r"agent_loop_manager_class = 'no\.such\.Manager' cannot work: needs a class that can be imported",
        ),
        (
            ["actor_rollout_ref.rollout.agent.agent_loop_manager_class=verl.trainer.ppo.v1.AgentLoopManagerTQ"],
            r"agent_loop_manager_class = 'verl",
        ),
    ],
)
def test_runs_that_cannot_work_are_refused_with_key_value_and_reason(overrides, message):
    with pytest.raises(ConfigError, match=message):
        check_run(composed("+tapo=default", *overrides))


def test_a_half_written_model_is_named_unless_weights_lie_elsewhere(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    path = f"actor_rollout_ref.model.path={tmp_path}"
    with pytest.raises(ConfigError, match=r"model\.path = .* a half-written model lies there: it lacks weights"):
        check_run(composed("+tapo=default", path))
    (tmp_path / "model.safetensors").write_bytes(NO_TENSORS)
    check_run(composed("+tapo=default", path))
    (tmp_path / "model.safetensors").unlink()
    elsewhere = "actor_rollout_ref.actor.megatron.use_dist_checkpointing=true"
    check_run(composed("+tapo=default", path, elsewhere, config="ppo_megatron_trainer"))


@pytest.mark.parametrize(
    ("taught", "asked", "refused"),
    [
        ({"copy": "anchored", "correction": "own"}, ["copy=anchored", "correction=own"], None),
        ({"copy": "anchored", "correction": "mixed"}, ["copy=anchored"], None),
        (
            {"copy": "verbatim", "correction": "guided"},
            ["copy=anchored"],
            "taught copy = verbatim",
        ),
        (
            {"copy": "anchored", "correction": "own"},
            ["copy=anchored"],
            "taught correction = own",
        ),
        (
            {"copy": "verbatim", "correction": "own"},
            ["correction=mixed"],
            "taught correction = own",
        ),
    ],
)
def test_a_model_is_asked_for_the_form_of_construction_that_its_cold_start_taught(tmp_path, taught, asked, refused):
    (tmp_path / FORM_FILE).write_text(json.dumps(taught))
    options = [f"algorithm.tapo.construction.{option}" for option in asked]
    config = composed("+tapo=default", f"actor_rollout_ref.model.path={tmp_path}", *options)
    if refused is None:
        assert check_run(config).enable
    else:
        with pytest.raises(ConfigError, match=refused):
            check_run(config)
    assert check_run(composed("+tapo=extra_correct", f"actor_rollout_ref.model.path={tmp_path}")).enable


ESTIMATORS = sorted({estimator.value for estimator in AdvantageEstimator} - {"gae"})
CONFIGS = ["ppo_trainer", "ppo_megatron_trainer"]
AGGREGATIONS = ["token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"]
LORA = ["actor_rollout_ref.model.lora_rank=32", "actor_rollout_ref.model.target_modules=all-linear"]
OTHERS = [
    [],
    LORA,
    ["actor_rollout_ref.actor.shuffle=true", "actor_rollout_ref.actor.ppo_epochs=2"],
    ["actor_rollout_ref.actor.use_prefix_grouper=true"],
    ["algorithm.rollout_correction.bypass_mode=true", "actor_rollout_ref.rollout.calculate_log_probs=true"],
    ["algorithm.filter_groups.enable=true", "algorithm.use_kl_in_reward=true"],
    ["reward.reward_model.enable=true", "reward.reward_model.enable_resource_pool=true"],
    ["actor_rollout_ref.rollout.multi_turn.enable=true"],
]


def launch_lines(seed=8, number=28):
    """Launch lines as users write them: each value of each setting in at least one, else drawn at random."""
    settings = {
        "algorithm.adv_estimator": [*ESTIMATORS, "tapo"],
        "actor_rollout_ref.rollout.n": [2, 3, 4, 5, 7, 8, 12, 16, 32, 64],
        "actor_rollout_ref.actor.loss_agg_mode": AGGREGATIONS,
        "actor_rollout_ref.actor.policy_loss.loss_mode": sorted(POLICY_LOSS_REGISTRY),
        "actor_rollout_ref.rollout.name": ["vllm", "sglang", "trtllm"],
        "trainer.v1.trainer_mode": [None, *TRAINER_MODES, *TRAINER_MODES.values()],
    }
    rng = random.Random(seed)
    columns = {}
    for key, values in settings.items():
        repeated = [value for _ in range(number // len(values) + 1) for value in rng.sample(values, len(values))]
        columns[key] = repeated[:number]
    for i in range(number):
        line = [f"{key}={column[i]}" for key, column in columns.items() if column[i] is not None]
        yield pytest.param(CONFIGS[i % 2], [*line, *OTHERS[i % len(OTHERS)]], id=str(i))


@pytest.mark.parametrize(("config", "line"), launch_lines())
def test_a_launch_line_of_any_critic_free_run_starts_with_the_group_and_nothing_else(config, line):
    launched = composed("+tapo=default", *line, config=config)
    assert check_run(launched).enable
    assert [value for value in line if value.startswith("algorithm.adv")] == [
        f"algorithm.adv_estimator={launched.algorithm.adv_estimator}"
    ]


def test_the_lines_of_the_matrix_hold_every_estimator_loss_and_mode():
    text = " ".join(" ".join(line.values[1]) for line in launch_lines())
    for name in (*ESTIMATORS, *POLICY_LOSS_REGISTRY, *AGGREGATIONS, *TRAINER_MODES, "n=2 ", "n=64 "):
        assert name in text


def test_switched_off_nothing_is_refused_that_verl_runs():
    off = ["+tapo=default", "algorithm.tapo.enable=false"]
    for line in (["algorithm.adv_estimator=gae"], ["actor_rollout_ref.rollout.n=1"], ["distillation.enabled=true"]):
        assert not check_run(composed(*off, *line)).enable


@pytest.mark.e2e  # two launches of verl's imports
@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["run", "multirun"])
def test_a_bad_value_stops_the_launch_command_itself(tmp_path, flags):
    script = tmp_path / "app.py"
    script.write_text(
        "import hydra, verl.trainer.ppo.core_algos\n"
        "@hydra.main(config_path='pkg://verl.trainer.config', config_name='ppo_trainer', version_base=None)\n"
        "def main(config):\n    print('main was reached')\n"
        "main()\n"
    )
    command = [
        sys.executable,
        script,
        "+tapo=default",
        "algorithm.adv_estimator=grpo",
        "actor_rollout_ref.rollout.n=8",
        "algorithm.tapo.n_pos=0",
        *flags,
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "TAPO: algorithm.tapo.n_pos = 0 cannot work: needs an integer >= 1" in done.stderr
    assert "main was reached" not in done.stdout


def test_without_the_group_the_message_says_what_to_append():
    with pytest.raises(ConfigError, match=r"\+tapo=default"):
        check_run(composed())


def test_a_launch_config_that_was_written_out_still_finds_the_check():
    assert run.CheckBeforeRay is CheckBeforeRay
