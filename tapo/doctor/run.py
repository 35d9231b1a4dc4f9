"""The launch line: whether it composes, what TAPO refuses of it or says to it, and what it will cost."""

from collections.abc import Iterator

from omegaconf import DictConfig

from tapo.config import ConfigError
from tapo.doctor.finding import Finding, fault, fine, warning
from tapo.doctor.options import DoctorOptions
from tapo.launch.checks import check_run, get, uses_tapo
from tapo.planning.options import PlanOptions
from tapo.planning.plan import plan_of


def look_at_run(config: DictConfig) -> Iterator[Finding]:
    """What TAPO refuses, and what it would train otherwise than one may think."""
    if not uses_tapo(config):
        yield fault("run", "the config group is not loaded: this is the run without TAPO", "append +tapo=default")
        return
    try:
        tapo = check_run(config)
    except ConfigError as error:
        yield fault("run", str(error), f"change {error.key}")
        return
    if not tapo.enable:
        yield warning("run", "algorithm.tapo.enable = false: this is the run without TAPO", "leave it out")
        return
    n = get(config, "actor_rollout_ref.rollout.n")
    n_pos, n_neg = tapo.thresholds(n)
    yield fine("run", f"of {n} rollouts at least {n_pos} right and {n_neg} wrong, {tapo.m_max} constructions a group")
    for key in ("custom_reward_function.path", "reward_model.enable"):
        if get(config, key):
            yield warning("reward", f"{key} has no effect in verl's V1 trainer", f"set reward.{key}")
    if tapo.dump_dir is None:
        yield warning("dump", "no dump: constructions cannot be looked at", "algorithm.tapo.dump_dir=FOLDER")


def look_at_cost(config: DictConfig, given: DoctorOptions) -> Iterator[Finding]:
    """Memory and context by `tapo plan`."""
    try:
        plan = plan_of(config, given.only(PlanOptions))
    except ConfigError as error:
        yield warning("plan", str(error), f"change {error.key}, or give --model-config-file")
        return
    peaks = ", ".join(f"{phase} {gib:.0f}" for phase, gib in plan.peaks.items())
    cost = ", ".join(f"{run} {seconds['step']:,.0f} s a step" for run, seconds in plan.seconds.items())
    if not plan.warnings:
        yield fine("plan", f"calculated for {given.gpu}: GiB of a GPU: {peaks} of {plan.gpu_gib:.0f}; {cost}")
    for said in plan.warnings:
        todo = "shorter responses or construction.max_tokens" if "tokens" in said else "more GPUs, offloading, LoRA"
        yield warning("plan", f"calculated for {given.gpu}: {said}", f"{todo}: tapo plan shows the parts")
