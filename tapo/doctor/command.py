"""`tapo doctor`: every look, one line a finding."""

from collections.abc import Iterator

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from tapo.doctor.constructing import look_at_constructing
from tapo.doctor.data import look_at_data
from tapo.doctor.environment import look_at_cluster, look_at_plugin, look_at_versions
from tapo.doctor.finding import Finding, Level, fault, skipped
from tapo.doctor.options import DoctorOptions
from tapo.doctor.run import look_at_cost, look_at_run
from tapo.launch.checks import get, uses_tapo
from tapo.launch.line import compose_line
from tapo.terminal import harmless

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAULT: "bold red", Level.SKIPPED: "dim"}


def run_doctor(given: DoctorOptions, console: Console) -> None:
    """Print what is found as it is found.

    Raises:
        SystemExit: 1, where there is a fault.
    """
    faults = warnings = 0
    for finding in findings(given, console):
        faults += finding.level is Level.FAULT
        warnings += finding.level is Level.WARNING
        console.print(line_of(finding))
    console.print(f"{faults} faults, {warnings} warnings", highlight=False)
    if faults:
        raise SystemExit(1)


def findings(given: DoctorOptions, console: Console) -> Iterator[Finding]:
    """All of them, from what is cheap to what takes minutes."""
    yield from look_at_versions()
    yield from look_at_plugin()
    try:
        config = compose_line(given.line)
    except ValueError as error:
        yield fault("launch line", str(error), "mend the line; HYDRA_FULL_ERROR=1 and --cfg job show more")
        return
    broken = False
    for finding in look_at_run(config):
        broken |= finding.level is Level.FAULT
        yield finding
    yield from look_at_cost(config, given)
    if given.dry:
        yield skipped("data, cluster, model", "--dry")
        return
    yield from look_at_data(config, given.prompts)
    yield from look_at_cluster(get(config, "ray_kwargs.ray_init.address"))
    yield from _look_at_model(config, given, console, broken=broken)


def _look_at_model(config: DictConfig, given: DoctorOptions, console: Console, *, broken: bool) -> Iterator[Finding]:
    if given.model is None:
        yield skipped("constructing", "no --model")
    elif broken or not uses_tapo(config):
        yield skipped("constructing", "the run cannot work as it stands")
    else:
        yield from look_at_constructing(config, given, console)


def line_of(finding: Finding) -> Text:
    """A finding as it is printed."""
    text = Text.assemble(
        (f"{finding.level.value:8}", STYLES[finding.level]), f"{finding.what}: {harmless(finding.said)}"
    )
    if finding.do:
        text.append(f"\n{'':8}-> {harmless(finding.do)}")
    return text
