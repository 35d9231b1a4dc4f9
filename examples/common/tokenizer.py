"""The tokenizer of an example: whole phrases and single characters.

    python examples/common/tokenizer.py TASK FOLDER

Any ASCII text of printable characters, newlines and tabs survives encoding and decoding. The four construction tags are
ordinary tokens: they stay when special tokens are skipped, since the construction's parser has to see them.
"""

from __future__ import annotations

import argparse
import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from examples.common.task import Task, load_task
from examples.common.vocabulary import EOS, PAD, ROLES, SPECIAL, UNKNOWN, words

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] -}}"
    "{%- if message['role'] == 'assistant' -%}{{- '" + EOS + "' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '" + ROLES["assistant"] + "' -}}{%- endif -%}"
)


def build_tokenizer(task: Task) -> PreTrainedTokenizerFast:
    """A word-level tokenizer whose words are the phrases, longest first, and else single characters."""
    ordinary = words(task.phrases)
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *ordinary])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    longest_first = sorted((word for word in ordinary if len(word) > 1), key=len, reverse=True)
    pattern = "|".join([*map(re.escape, longest_first), r"[\s\S]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        additional_special_tokens=list(ROLES.values()),
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def main() -> None:
    parser = argparse.ArgumentParser(description="Build a task's tokenizer and save it to a folder.")
    parser.add_argument("task", help="folder of the task")
    parser.add_argument("folder")
    options = parser.parse_args()
    tokenizer = build_tokenizer(load_task(options.task))
    tokenizer.save_pretrained(options.folder)
    print(f"{len(tokenizer)} tokens saved to {options.folder}")


if __name__ == "__main__":
    main()
