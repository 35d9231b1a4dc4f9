"""Chats as token ids, as verl's rollout gives them to an engine."""

from collections.abc import Mapping, Sequence
from typing import Any


def load_tokenizer(model: str) -> Any:
    """The model's tokenizer, as verl loads it.

    Raises:
        ValueError: it cannot be loaded, or has no chat template.
    """
    from verl.utils import hf_tokenizer

    try:
        tokenizer = hf_tokenizer(model)
    except OSError as error:
        raise ValueError(f"model = {model!r} cannot work: {error}") from error
    if not tokenizer.chat_template:
        raise ValueError(f"model = {model!r} cannot work: its tokenizer has no chat template")
    return tokenizer


def prompt_ids(messages: Sequence[Mapping[str, str]], tokenizer: Any, template_kwargs: Mapping[str, Any]) -> list[int]:
    """A chat with the generation prompt behind it.

    Args:
        template_kwargs: as `data.apply_chat_template_kwargs` of a run, `enable_thinking: false` for one.
    """
    from verl.utils.tokenizer import normalize_token_ids

    encoded = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, tokenize=True, **template_kwargs
    )
    return normalize_token_ids(encoded)
