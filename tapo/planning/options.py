"""The options of `tapo plan`: the run, the hardware, and what is assumed of the policy."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import model_validator
from typing_extensions import Self

from tapo.options import ConfigError, Needs, Options, Share
from tapo.planning.gpu import GPUS

Positive = Annotated[float, Needs("a number > 0", lambda number: number > 0)]


class PolicyOptions(Options):
    """What the policy will do, which decides most of the cost."""

    panel = "The policy, assumed"

    response_share: Share = 0.4
    """Mean length of a response, of data.max_response_length."""
    prompt_share: Share = 0.3
    """Mean length of a query, of data.max_prompt_length."""
    eligible: Share = 0.35
    """Share of the groups that hold enough right and wrong responses."""
    error_at: Share = 0.5
    """Where a wrong response errs, on average, of its length: what is kept of it."""
    valid: Share = 0.8
    """Share of the constructions that become a row."""
    analysis: int = 300
    """Tokens of the diagnosis before a reconstruction."""
    reflection: int = 60
    """Tokens of a reflection."""


class HardwareOptions(Options):
    """What the devices do."""

    panel = "The hardware, assumed"

    gpu: str = "h100"
    """a100, h100, h200 or b200."""
    mfu: Share = 0.35
    """Share of the GPU's dense bfloat16 rate that training reaches."""
    bandwidth: Share = 0.6
    """Share of its memory's bandwidth that decoding reaches."""
    host_gb_s: Positive = 20.0
    """GB a second to and from the host's memory, of one GPU, for what is offloaded."""


class PlanOptions(HardwareOptions, PolicyOptions):
    """What a run will cost: tokens of a step with GRPO and with TAPO, context, memory of a GPU by part, seconds and
    hours. Calculated from the run's config and the assumptions below; nothing is measured or started."""

    line: Annotated[tuple[str, ...], typer.Argument(metavar="-- LAUNCH_LINE")] = ()
    """The launch line behind `--`: `python -m verl.trainer.main_ppo ...`, or what stands behind the program."""
    model_config_file: Path | None = None
    """config.json of the model, where actor_rollout_ref.model.path cannot be read here."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.gpu not in GPUS:
            raise ConfigError("gpu", self.gpu, f"allowed are {', '.join(GPUS)}")
        for name in ("mfu", "bandwidth", "response_share"):
            if not getattr(self, name):
                raise ConfigError(name, 0.0, "needs a share above 0")
        return self
