"""The plan of a run: what its config and the assumptions say it will cost."""

from dataclasses import dataclass

from omegaconf import DictConfig

from tapo.config import TapoConfig, read_tapo_config
from tapo.launch.checks import get, uses_tapo
from tapo.launch.context import construction_max_tokens
from tapo.planning.devices import Layout, layout
from tapo.planning.gpu import GPUS
from tapo.planning.memory import Memory, memory
from tapo.planning.model import ModelSize, model_size
from tapo.planning.options import PlanOptions, PolicyOptions
from tapo.planning.seconds import cached_tokens, step_seconds
from tapo.planning.tokens import PROMPT_WORDS, StepTokens, rollout_tokens, tapo_tokens

ROLLOUT, TRAINING = "rolling out", "training"


@dataclass(frozen=True)
class Plan:
    """Everything that `tapo plan` shows; `grpo` is the same run without TAPO, `tapo` None in a run without it.

    Attributes:
        context: tokens that the engine must take in one sequence, without and with constructions.
        cached: sequences of that length that the KV cache of a replica holds.
        steps: of the whole run, where its config says.
    """

    model: str
    size: ModelSize
    layout: Layout
    gpu_gib: float
    memory: Memory
    context: tuple[int, int]
    cached: tuple[float, float]
    tokens: dict[str, StepTokens]
    seconds: dict[str, dict[str, float]]
    steps: int | None

    @property
    def peaks(self) -> dict[str, float]:
        """GiB of a GPU at each phase's peak."""
        return {TRAINING: sum(self.memory.training.values()), ROLLOUT: sum(self.memory.rollout.values())}

    @property
    def warnings(self) -> list[str]:
        """What does not fit."""
        said = [
            f"{phase} takes {peak:.0f} GiB of a GPU's {self.gpu_gib:.0f}"
            for phase, peak in self.peaks.items()
            if peak > self.gpu_gib
        ]
        if self.context[1] > self.size.context:
            said.append(
                f"a construction may take {self.context[1]:,} tokens, the model {self.size.context:,}: longer ones are "
                "counted under tapo/construct/rejected/does_not_fit"
            )
        if min(self.cached) < 1:
            said.append("the KV cache does not hold one sequence of full length")
        return said


def plan_of(config: DictConfig, given: PlanOptions) -> Plan:
    """Calculate the plan of a composed config.

    Raises:
        ConfigError: an option of the run cannot work, or no plan can be made of it.
    """
    path = str(get(config, "actor_rollout_ref.model.path"))
    trusts = bool(get(config, "actor_rollout_ref.model.trust_remote_code"))
    size = model_size(path, given.model_config_file, trust_remote_code=trusts)
    spread, gib = layout(config), GPUS[given.gpu].memory_gib
    room = memory(config, size, spread, gib)
    policy = given.only(PolicyOptions)
    tokens = {"GRPO": rollout_tokens(config, policy)}
    plain = get(config, "data.max_prompt_length") + get(config, "data.max_response_length")
    context = (plain, plain)
    if uses_tapo(config) and (tapo := read_tapo_config(config)).enable:
        tokens["TAPO"] = tapo_tokens(config, tapo, policy)
        context = (plain, plain + construction_context(config, tapo))
    cached = cached_tokens(size, spread, room)
    return Plan(
        model=path,
        size=size,
        layout=spread,
        gpu_gib=gib,
        memory=room,
        context=context,
        cached=(cached / context[0], cached / context[1]),
        tokens=tokens,
        seconds={name: step_seconds(config, size, spread, room, of_step, given) for name, of_step in tokens.items()},
        steps=get(config, "trainer.total_training_steps"),
    )


def construction_context(config: DictConfig, tapo: TapoConfig) -> int:
    """Tokens that the longest construction takes beyond a rollout: the sibling, the prompt's words, the answer."""
    if not tapo.asks_actor:
        return 0
    response = get(config, "data.max_response_length")
    return response + PROMPT_WORDS + construction_max_tokens(tapo, response)
