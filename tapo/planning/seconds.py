"""Seconds of a step, by part, from roofs: bandwidth while decoding, arithmetic while training."""

from omegaconf import DictConfig

from tapo.launch.checks import get
from tapo.planning.devices import Layout
from tapo.planning.gpu import GPUS
from tapo.planning.memory import GIB, Memory, checkpointing, resident_bytes, state
from tapo.planning.model import ModelSize
from tapo.planning.options import PlanOptions
from tapo.planning.tokens import StepTokens

_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def step_seconds(
    config: DictConfig, size: ModelSize, spread: Layout, room: Memory, tokens: StepTokens, given: PlanOptions
) -> dict[str, float]:
    """By part; `step` is the whole."""
    gpu = GPUS[given.gpu]
    rate = gpu.flops * given.mfu * spread.trained_on
    forward = size.forward_flops(tokens.trained, tokens.row) / rate
    passes = 1 + int(bool(get(config, f"{_ACTOR}.use_kl_loss") or get(config, "algorithm.use_kl_in_reward")))
    update = (4 if checkpointing(config, spread) else 3) * (get(config, f"{_ACTOR}.ppo_epochs") or 1)
    parts = {
        "generation": generation(config, size, spread, room, tokens, given),
        "log-probs": passes * forward,
        "update": update * forward,
        "offloading": offloading(config, size, spread, given),
    }
    training = sum(seconds for name, seconds in parts.items() if name != "generation")
    whole = max(parts["generation"], training) if spread.separate else parts["generation"] + training
    return parts | {"step": whole}


def generation(
    config: DictConfig, size: ModelSize, spread: Layout, room: Memory, tokens: StepTokens, given: PlanOptions
) -> float:
    """What the engines need for all tokens, or what the longest chain of tokens needs, whichever is more."""
    gpu = GPUS[given.gpu]
    sequences = get(config, "data.train_batch_size") * get(config, f"{_ROLLOUT}.n") / spread.replicas
    held = cached_tokens(size, spread, room) / tokens.row
    batch = max(min(sequences, get(config, f"{_ROLLOUT}.max_num_seqs") or sequences, held), 1.0)
    reads = gpu.bytes_per_s * given.bandwidth * spread.replica
    weights = 2 * size.parameters
    alone = weights / reads
    calculates = batch * 2 * size.active / (gpu.flops * given.mfu * spread.replica)
    one_token = max((weights + batch * tokens.row / 2 * size.kv_bytes) / reads, calculates)
    decoding = tokens.decoded * one_token / (batch * spread.replicas)
    prefilling = size.forward_flops(tokens.prefilled, tokens.row) / (gpu.flops * given.mfu * spread.rolled_out_on)
    return max(decoding + prefilling, tokens.last * alone)


def cached_tokens(size: ModelSize, spread: Layout, room: Memory) -> float:
    """Tokens that the KV cache of one replica holds."""
    return room.rollout["KV cache"] * GIB * spread.replica / size.kv_bytes


def offloading(config: DictConfig, size: ModelSize, spread: Layout, given: PlanOptions) -> float:
    """What is offloaded goes to the GPU and back once a step."""
    parameters, _, optimizer = state(config, size, spread)
    moved = parameters + optimizer - resident_bytes(config, spread, parameters, optimizer)
    return 2 * moved / (given.host_gb_s * 1e9)
