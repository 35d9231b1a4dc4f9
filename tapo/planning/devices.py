"""How a run lays the model over its GPUs."""

from dataclasses import dataclass

from omegaconf import DictConfig

from tapo.launch.checks import FSDP, get
from tapo.options import ConfigError

_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


@dataclass(frozen=True)
class Layout:
    """Of one run.

    Attributes:
        trained_on, rolled_out_on: GPUs; the same ones unless `separate`.
        separate: rollout and training have devices of their own and work at the same time.
        megatron: else FSDP.
        shards: into how many parts FSDP cuts the training state.
        tensor, pipeline, context, expert: Megatron's parallel sizes, 1 under FSDP; `expert` over what its tensor size
            for experts leaves.
        replica: GPUs of one copy of the rollout engine.
    """

    trained_on: int
    rolled_out_on: int
    separate: bool
    megatron: bool
    shards: int
    tensor: int
    pipeline: int
    context: int
    expert: int
    replica: int

    @property
    def replicas(self) -> int:
        """Copies of the rollout engine."""
        return max(self.rolled_out_on // self.replica, 1)

    @property
    def data(self) -> int:
        """Megatron's data-parallel size."""
        return max(self.trained_on // (self.tensor * self.pipeline * self.context), 1)


def layout(config: DictConfig) -> Layout:
    """Read it off a composed config.

    Raises:
        ConfigError: another strategy than FSDP and Megatron; a replica that the devices do not hold.
    """
    strategy = get(config, f"{_ACTOR}.strategy")
    if strategy not in (*FSDP, "megatron"):
        raise ConfigError(f"{_ACTOR}.strategy", strategy, f"a plan is made for {', '.join(FSDP)} and megatron")
    trained_on = get(config, "trainer.nnodes") * get(config, "trainer.n_gpus_per_node")
    separate = str(get(config, "trainer.v1.trainer_mode")).endswith("separate_async")
    own = (get(config, f"{_ROLLOUT}.nnodes") or 0) * (get(config, f"{_ROLLOUT}.n_gpus_per_node") or 0)
    rolled_out_on = own if separate and own else trained_on
    tensor_key = f"{_ROLLOUT}.tensor_model_parallel_size"
    replica = get(config, tensor_key) * (get(config, f"{_ROLLOUT}.pipeline_model_parallel_size") or 1)
    if replica > rolled_out_on:
        raise ConfigError(tensor_key, get(config, tensor_key), f"needs at most the {rolled_out_on} GPUs of the rollout")
    sizes = {"tensor": 1, "pipeline": 1, "context": 1, "expert": 1}
    if strategy == "megatron":
        megatron = f"{_ACTOR}.megatron"
        sizes = {name: get(config, f"{megatron}.{name}_model_parallel_size") or 1 for name in ("tensor", "pipeline")}
        sizes["context"] = get(config, f"{megatron}.context_parallel_size") or 1
        over = get(config, f"{megatron}.expert_tensor_parallel_size") or sizes["tensor"]
        sizes["expert"] = (get(config, f"{megatron}.expert_model_parallel_size") or 1) * over
    size = get(config, f"{_ACTOR}.fsdp_config.fsdp_size") or -1
    return Layout(
        trained_on=trained_on,
        rolled_out_on=rolled_out_on,
        separate=separate,
        megatron=strategy == "megatron",
        shards=size if size > 0 else trained_on,
        replica=replica,
        **sizes,
    )
