"""Whether a checkpoint can construct, by letting it."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from tapo.cold_start.build import run_build
from tapo.cold_start.options import BuildOptions
from tapo.cold_start.store import KEPT, ConstructionStore
from tapo.config import FormOptions, read_tapo_config
from tapo.data.rollout_store import RolloutStore
from tapo.doctor.data import reward_options, train_files
from tapo.doctor.finding import Finding, fault, fine, warning
from tapo.doctor.options import DoctorOptions
from tapo.generation.engine import EngineFailed
from tapo.generation.first_look import NothingCorrect
from tapo.generation.options import RolloutOptions
from tapo.generation.run_rollouts import run_rollouts
from tapo.launch.checks import get
from tapo.launch.context import construction_max_tokens
from tapo.planning.model import model_size
from tapo.planning.plan import construction_context

PROMPTS = ("prompt_file", "own_prompt_file")


def look_at_constructing(config: DictConfig, given: DoctorOptions, console: Console) -> Iterator[Finding]:
    """Sample some queries, construct once for each that has right and wrong responses, and count what is valid."""
    assert given.model is not None
    with ExitStack() as stack:
        work = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tapo_doctor_")))
        try:
            valid, tried = _constructed(config, given, work, console)
        except NothingCorrect as error:
            yield fault("constructing", str(error), "give easier queries, or another model")
            return
        except (ValueError, EngineFailed) as error:
            yield fault("constructing", str(error), "mend that first")
            return
    if not tried:
        yield warning("constructing", "no query had right and wrong responses", "give more --queries")
        return
    said = f"{valid} of {tried} constructions are valid ({valid / tried:.0%})"
    if valid / tried < given.least_valid:
        yield fault("constructing", said, "run the cold start first: docs/cold_start.md")
    else:
        yield fine("constructing", said)


def _constructed(config: DictConfig, given: DoctorOptions, work: Path, console: Console) -> tuple[int, int]:
    """(valid, tried)."""
    tapo = read_tapo_config(config)
    length = get(config, "data.max_response_length")
    needed = get(config, "data.max_prompt_length") + length + construction_context(config, tapo)
    reward = reward_options(config).model_dump()
    shared = {"model": given.model, "template": dict(get(config, "data.apply_chat_template_kwargs") or {}), **reward}
    rollouts = RolloutOptions(
        data=tuple(train_files(config)),
        out=work / "rollouts",
        n=get(config, "actor_rollout_ref.rollout.n"),
        max_prompt_tokens=get(config, "data.max_prompt_length"),
        max_tokens=length,
        limit=given.queries,
        prompt_key=get(config, "data.prompt_key"),
        reward_fn_key=get(config, "data.reward_fn_key"),
        **shared,
    )
    run_rollouts(rollouts, console)
    build = BuildOptions(
        rollouts=(rollouts.out,),
        out=work / "constructed",
        attempts=1,
        require_reflection=False,
        response_length=length,
        max_tokens=construction_max_tokens(tapo, length),
        engine={"max_model_len": min(needed, model_size(str(given.model)).context)},
        **tapo.construction.part(FormOptions),
        **{name: Path(file) for name in PROMPTS if (file := getattr(tapo.construction, name)) is not None},
        **shared,
    )
    assert len(RolloutStore.open(rollouts.out).done())
    run_build(build, console)
    store = ConstructionStore.open(build.out / "constructions")
    outcomes = [row.outcome for row in store if row.attempts]
    return sum(outcome == KEPT for outcome in outcomes), len(outcomes)
