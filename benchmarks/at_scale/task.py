"""The task of the benchmark as verl takes it: problems in a parquet, a model folder with a tokenizer, a reward."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from benchmarks.at_scale import texts
from tapo.core.prompts import CONSTRUCTION_PROMPT

BASE_MODEL = Path(__file__).parents[2] / "examples" / "arithmetic" / "base_model"
"""Its config and weights fill the folder; nothing computes with them."""

PAD, TURN, END = SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
VOCABULARY = 2000
CONTEXT = 65_536


def write_task(folder: Path, queries: int, seed: int) -> None:
    """`train.parquet` and `model` in a folder."""
    rows = []
    for number in range(queries):
        text = texts.query(number, seed)
        rows.append(
            {
                "data_source": "ledger",
                "prompt": [{"role": "user", "content": text}],
                "ability": "math",
                "reward_model": {"style": "rule", "ground_truth": str(texts.solution(text))},
                "extra_info": {"index": number},
            }
        )
    pd.DataFrame(rows).to_parquet(folder / "train.parquet")
    write_model(folder / "model", seed)


def write_model(folder: Path, seed: int) -> None:
    """A model folder that verl and a tokenizer can be loaded from."""
    tokenizer(seed).save_pretrained(folder)
    config = json.loads((BASE_MODEL / "config.json").read_text())
    config |= {"max_position_embeddings": CONTEXT}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("generation_config.json", "model.safetensors"):
        shutil.copy(BASE_MODEL / name, folder / name)


def tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with digits by themselves, as current models have: about four characters of prose a token."""
    bpe = Tokenizer(models.BPE())
    parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    bpe.pre_tokenizer = pre_tokenizers.Sequence(parts)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([*texts.samples(seed), CONSTRUCTION_PROMPT], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[TURN],
        chat_template=CHAT_TEMPLATE,
    )


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any], **options: Any
) -> float:
    """1 for the right answer in the last box, else 0."""
    return float(texts.boxed(solution_str) == int(ground_truth))
