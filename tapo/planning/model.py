"""What a model's config says of its size."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tapo.launch.context import kv_bytes_per_token
from tapo.options import ConfigError

SHIPPED = Path(__file__).parent / "models"
"""Configs of the models of the recipes, so that a plan needs no hub."""


@dataclass(frozen=True)
class ModelSize:
    """A decoder.

    Attributes:
        parameters: all of them.
        active: those that a token passes through, an untied input embedding left out, which is a look-up.
        experts: those of routed experts; 0 in a dense model.
        layers, hidden, vocab: its shape.
        linear_ends: inputs plus outputs of the linear layers but the head, summed: a LoRA has its rank times as many
            parameters.
        attention: heads times their size.
        kv_bytes: of one token in a cache of 16 bits, over all layers.
        context: most positions.
    """

    parameters: int
    active: int
    experts: int
    layers: int
    hidden: int
    vocab: int
    linear_ends: int
    attention: int
    kv_bytes: int
    context: int

    def forward_flops(self, tokens: float, length: float) -> float:
        """Of so many tokens in causal sequences of a mean length: 2 a parameter, and 4 a pair in attention."""
        return tokens * (2 * self.active + 4 * self.layers * self.attention * length / 2)


def model_size(path: str, config_file: Path | None = None, *, trust_remote_code: bool = False) -> ModelSize:
    """The size of a model, from its config alone.

    Args:
        path: a folder, a name on the hub, or one that ends like a model of the recipes.
        config_file: a config.json that stands for it.

    Raises:
        ConfigError: no config can be read.
    """
    from transformers import AutoConfig

    shipped = SHIPPED / f"{Path(path).name}.json"
    try:
        if config_file is not None:
            return _size(json.dumps(json.loads(Path(config_file).expanduser().read_text())))
        if not Path(path).expanduser().is_dir() and shipped.is_file():
            return _size(shipped.read_text())
        config = AutoConfig.from_pretrained(str(Path(path).expanduser()), trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        key, got = ("model_config_file", str(config_file)) if config_file else ("actor_rollout_ref.model.path", path)
        allowed = f"needs a model whose config can be read, or --model-config-file ({str(error).splitlines()[0]})"
        raise ConfigError(key, got, allowed) from error
    return _size(json.dumps(config.to_dict(), default=str))


@cache
def _size(text: str) -> ModelSize:
    """From the text of a config.json."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    values: dict[str, Any] = json.loads(text)
    config = AutoConfig.for_model(values.pop("model_type"), **values).get_text_config()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    parameters = sum(counts.values())
    experts = sum(count for name, count in counts.items() if ".experts." in name)
    number = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None) or 1
    idle = experts * (1 - getattr(config, "num_experts_per_tok", number) / number)
    embedding = 0 if config.tie_word_embeddings else model.get_input_embeddings().weight.numel()
    heads = config.num_attention_heads
    kv_bytes = kv_bytes_per_token(config, 2)
    assert kv_bytes is not None, "a causal LM of transformers without layers or heads"
    return ModelSize(
        parameters=parameters,
        active=round(parameters - idle - embedding),
        experts=experts,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        vocab=config.vocab_size,
        linear_ends=sum(
            module.in_features + module.out_features
            for module in model.modules()
            if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
        ),
        attention=heads * (getattr(config, "head_dim", None) or config.hidden_size // heads),
        kv_bytes=kv_bytes,
        context=config.max_position_embeddings,
    )
