"""How long a sequence the rollout engine must take for a construction, and what that costs."""

from typing import Any

from omegaconf import DictConfig

from tapo.config import TapoConfig
from tapo.core.asking import analysis_room
from tapo.core.prompts import construction_messages

REENCODING_TOKENS = 32
"""Texts that are decoded and encoded again may come out a little longer."""


def construction_max_tokens(tapo: TapoConfig, response_length: int) -> int:
    """Most tokens of an answer: as configured, else one response and an analysis of at most half a response."""
    return tapo.construction.max_tokens or response_length + analysis_room(response_length)


def prompt_tokens(tapo: TapoConfig, tokenizer: Any, template_kwargs: dict[str, Any]) -> int:
    """Tokens of the construction prompt's own words, chat template included."""
    empty = [{"role": "user", "content": ""}]
    texts = []
    for form in tapo.construction.forms:
        messages = construction_messages(empty, wrong="", correct="", template=tapo.template(form))
        kwargs = {"add_generation_prompt": True, "tokenize": False, **template_kwargs}
        texts.append(tokenizer.apply_chat_template(messages, **kwargs))
    return max(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts) + REENCODING_TOKENS


def kv_bytes_per_token(text_config: Any, bytes_per_value: int) -> int | None:
    """Bytes of KV cache that a token takes over all layers of a decoder; None where its config does not say."""
    layers = getattr(text_config, "num_hidden_layers", None)
    latent = getattr(text_config, "kv_lora_rank", None)
    heads = getattr(text_config, "num_attention_heads", None)
    hidden = getattr(text_config, "hidden_size", None)
    if not layers or not heads or not hidden:
        return None
    if latent:
        return layers * (latent + text_config.qk_rope_head_dim) * bytes_per_value
    head_size = getattr(text_config, "head_dim", None) or hidden // heads
    return layers * 2 * (getattr(text_config, "num_key_value_heads", None) or heads) * head_size * bytes_per_value


def context_report(config: DictConfig, tapo: TapoConfig, model: Any) -> tuple[int, str]:
    """The engine's context length for this run, and a sentence on what it means.

    Args:
        config: the whole composed config; `rollout.max_model_len` is null unless the user set it.
        model: verl's `HFModelConfig` of the actor.

    Returns:
        (tokens for `rollout.max_model_len`, message). The user's number stays as it is; unset, it is as small as
        every construction allows, and never more than the model's own context.
    """
    rollout = config.actor_rollout_ref.rollout
    text_config = model.hf_config.get_text_config()
    kwargs = dict(config.data.get("apply_chat_template_kwargs") or {})
    # The longest construction: query, two responses and the prompt's own words, then the answer.
    wanted = rollout.prompt_length + 2 * rollout.response_length + prompt_tokens(tapo, model.tokenizer, kwargs)
    wanted += construction_max_tokens(tapo, rollout.response_length)
    context = getattr(text_config, "max_position_embeddings", None) or wanted
    length = rollout.max_model_len or min(wanted, context)
    source = "as set" if rollout.max_model_len else "the model's context" if context < wanted else "set by TAPO"
    message = (
        f"TAPO: rollout.max_model_len = {length} tokens ({source}). A rollout takes up to "
        f"{rollout.prompt_length + rollout.response_length}, a construction (the query, two responses, the answer) "
        f"up to {wanted}."
    )
    if cost := kv_bytes_per_token(text_config, 4 if rollout.dtype in ("float32", "fp32") else 2):
        gib = length * cost / 2**30
        message += f" A sequence of {length} tokens takes {gib:.2g} GiB of KV cache, spread over a replica's devices."
    if length < wanted:
        message += " Constructions that do not fit are counted under tapo/construct/rejected/does_not_fit."
    return length, message + " Less of both: algorithm.tapo.construction.max_tokens."
