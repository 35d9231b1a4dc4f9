"""The options of `algorithm.opsd`, and what is refused of a run."""

import pytest
from verl.trainer.ppo.utils import need_reference_policy

from tapo.baselines.opsd.checks import CheckOpsdBeforeRay, check_opsd_run, prepare_opsd_run
from tapo.baselines.opsd.config import OpsdConfig
from tapo.options import ConfigError
from tests.stand_ins.trainer import composed

MEGATRON = ["actor_rollout_ref.actor.strategy=megatron", "algorithm.opsd.mode=reverse_kl"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+algorithm.opsd.modus=x"], r"algorithm\.opsd\.modus = 'x' cannot work: no such option"),
        (["algorithm.opsd.mode=kl"], r"opsd\.mode = 'kl' cannot work: allowed are advantage, reverse_kl, forward_kl"),
        (["algorithm.opsd.clip=0"], r"opsd\.clip = 0 cannot work: needs null or a number > 0"),
        (["algorithm.opsd.template=no"], r"opsd\.template = 'no' .*the teacher's prompt needs each of \{query\}, "),
        (["algorithm.opsd.template_file=/none"], r"opsd\.template_file = '/none' cannot work"),
        (["algorithm.opsd.privileged=solution"], r"solution_key = None cannot work: privileged=solution and"),
        (["algorithm.opsd.solution_key=a"], r"solution_key = 'a' cannot work: privileged=solution and"),
        (["actor_rollout_ref.rollout.n=1"], r"rollout\.n = 1 cannot work: a lone rollout"),
        (["algorithm.adv_estimator=gae"], r"adv_estimator = 'gae' cannot work"),
        (["trainer.use_v1=false"], r"trainer\.use_v1 = False cannot work: OPSD allows True"),
        (["trainer.v1.trainer_mode=tapo_sync"], r"trainer_mode = 'tapo_sync' cannot work: OPSD allows sync, "),
        (["distillation.enabled=true"], r"distillation\.enabled = True"),
        (MEGATRON, r"actor\.strategy = 'megatron' cannot work: OPSD allows fsdp, fsdp2"),
        (["actor_rollout_ref.model.use_fused_kernels=true", MEGATRON[1]], r"use_fused_kernels = True"),
    ],
)
def test_runs_that_cannot_work_are_refused_with_key_value_and_reason(overrides, message):
    with pytest.raises(ConfigError, match=message):
        check_opsd_run(composed("+tapo=opsd", *overrides))


def test_a_run_is_tapo_or_opsd():
    with pytest.raises(ConfigError, match=r"algorithm\.tapo = 'set' cannot work: a run is TAPO or OPSD"):
        check_opsd_run(composed("+tapo=[default,opsd]"))


def test_the_group_has_the_documented_defaults_and_goes_with_any_engine():
    config = composed("+tapo=[opsd,cpu]")
    assert check_opsd_run(config) == OpsdConfig(seed=config.actor_rollout_ref.rollout.seed)
    assert check_opsd_run(composed("+tapo=opsd", MEGATRON[0])).direction is None


def test_verls_own_mode_name_is_set_back_and_its_modes_are_kept():
    for given, expected in (("opsd_sync", "sync"), ("colocate_async", "colocate_async")):
        config = composed("+tapo=opsd", f"trainer.v1.trainer_mode={given}")
        prepare_opsd_run(config)
        assert config.trainer.v1.trainer_mode == expected


def test_the_initial_policy_is_verls_reference_policy_at_no_weight_where_the_run_has_none():
    config = composed("+tapo=opsd", "algorithm.opsd.teacher=initial")
    assert not need_reference_policy(config)
    prepare_opsd_run(config)
    assert need_reference_policy(config) and config.actor_rollout_ref.actor.kl_loss_coef == 0
    kl = ["actor_rollout_ref.actor.use_kl_loss=true", "actor_rollout_ref.actor.kl_loss_coef=0.1"]
    config = composed("+tapo=opsd", "algorithm.opsd.teacher=initial", *kl)
    prepare_opsd_run(config)
    assert config.actor_rollout_ref.actor.kl_loss_coef == 0.1


def test_the_launch_command_stops_with_the_sentence():
    with pytest.raises(SystemExit, match=r"OPSD: algorithm\.opsd\.coefficient = -1"):
        CheckOpsdBeforeRay().on_job_start(composed("+tapo=opsd", "algorithm.opsd.coefficient=-1"))
