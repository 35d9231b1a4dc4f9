"""Memory of one GPU, by part: while training, and while rolling out."""

from dataclasses import dataclass

from omegaconf import DictConfig

from tapo.launch.checks import get
from tapo.planning.devices import Layout
from tapo.planning.model import ModelSize

GIB = 2**30
LAYER_BYTES = 34
"""Of activations, for a token and a unit of the hidden size in a layer, with flash attention (Korthikanti et al.)."""
LOGIT_BYTES = 8
"""Of a token and an entry of the vocabulary: logits and their gradient of 2 bytes each, and a float copy."""
ENGINE_GIB = 3.0
"""What a rollout engine takes beside weights and cache: graphs and activations."""
RUNTIME_GIB = 2.0
"""Of CUDA and NCCL in the training process."""

_ACTOR = "actor_rollout_ref.actor"


@dataclass(frozen=True)
class Memory:
    """GiB of one GPU.

    Attributes:
        training: by part, while the actor is updated: the peak.
        rollout: by part, while the engine generates; `KV cache` is what is left to it.
        state: parameters, gradients and optimizer of the actor, as they lie on one GPU or are offloaded from it.
    """

    training: dict[str, float]
    rollout: dict[str, float]
    state: float


def memory(config: DictConfig, size: ModelSize, spread: Layout, gpu_gib: float) -> Memory:
    """Calculate it for one GPU of so many GiB."""
    parameters, gradients, optimizer = state(config, size, spread)
    tokens = micro_batch_tokens(config)
    across = spread.tensor * spread.context
    layer = tokens * size.hidden / across
    checkpoints = checkpointing(config, spread)
    activations = (2 * size.layers + LAYER_BYTES) * layer if checkpoints else LAYER_BYTES * size.layers * layer
    fused = get(config, "actor_rollout_ref.model.use_fused_kernels")
    training = {
        "parameters": parameters / GIB,
        "gradients": gradients / GIB,
        "optimizer": optimizer / GIB,
        "layers put together": 0.0 if spread.megatron else 2 * 2 * largest_unit(size) / GIB,
        "activations": activations / GIB,
        "logits": 0.0 if fused else tokens * size.vocab * LOGIT_BYTES / across / GIB,
        "runtime": RUNTIME_GIB,
    }
    if not spread.megatron and get(config, f"{_ACTOR}.fsdp_config.offload_policy"):
        training |= dict.fromkeys(("parameters", "gradients", "optimizer"), 0.0)
    total = get(config, "actor_rollout_ref.rollout.gpu_memory_utilization") * gpu_gib
    weights = 2 * size.parameters / spread.replica / GIB
    resident = 0.0 if spread.separate else resident_bytes(config, spread, parameters, optimizer) / GIB + RUNTIME_GIB
    rollout = {
        "weights": weights,
        "KV cache": max(total - weights - ENGINE_GIB, 0.0),
        "engine": ENGINE_GIB,
        "actor, not offloaded": resident,
    }
    return Memory(training, rollout, (parameters + gradients + optimizer) / GIB)


def state(config: DictConfig, size: ModelSize, spread: Layout) -> tuple[float, float, float]:
    """Bytes of parameters, gradients and optimizer on one GPU."""
    rank = get(config, "actor_rollout_ref.model.lora_rank") or 0
    trainable = rank * size.linear_ends if rank else size.parameters
    if spread.megatron:
        model = spread.tensor * spread.pipeline
        dense = (size.parameters - size.experts) / model
        share = (dense + size.experts / (spread.expert * spread.pipeline)) / size.parameters
        held = size.parameters * share
        trained = trainable * share
        # bfloat16 weights, float gradients; the float copy and Adam's two moments are cut over the data ranks.
        return 2 * held, 4 * trained, 12 * trained / spread.data
    width = 4 if get(config, f"{_ACTOR}.fsdp_config.model_dtype") in ("fp32", "float32") else 2
    return (
        width * (size.parameters + (trainable if rank else 0)) / spread.shards,
        width * trainable / spread.shards,
        2 * width * trainable / spread.shards,
    )


def resident_bytes(config: DictConfig, spread: Layout, parameters: float, optimizer: float) -> float:
    """What of the actor stays on the GPU while the engine generates."""
    engine = f"{_ACTOR}.megatron" if spread.megatron else f"{_ACTOR}.fsdp_config"
    if not spread.megatron and get(config, f"{engine}.offload_policy"):
        return 0.0
    stays = parameters * (not get(config, f"{engine}.param_offload"))
    return stays + optimizer * (not get(config, f"{engine}.optimizer_offload"))


def micro_batch_tokens(config: DictConfig) -> int:
    """Tokens of one pass of the actor's update on one GPU."""
    if get(config, f"{_ACTOR}.use_dynamic_bsz"):
        return get(config, f"{_ACTOR}.ppo_max_token_len_per_gpu")
    length = get(config, "data.max_prompt_length") + get(config, "data.max_response_length")
    parts = get(config, f"{_ACTOR}.fsdp_config.ulysses_sequence_parallel_size") or 1
    return (get(config, f"{_ACTOR}.ppo_micro_batch_size_per_gpu") or 1) * length // parts


def checkpointing(config: DictConfig, spread: Layout) -> bool:
    """Whether activations are computed again in the backward pass."""
    if spread.megatron:
        key = f"{_ACTOR}.megatron.override_transformer_config.recompute_granularity"
        return get(config, key) == "full"
    return bool(get(config, "actor_rollout_ref.model.enable_gradient_checkpointing"))


def largest_unit(size: ModelSize) -> float:
    """Parameters of the largest part that FSDP puts together at once: a layer, or embedding and head."""
    ends = size.vocab * size.hidden
    return max((size.parameters - ends) / size.layers, ends)
