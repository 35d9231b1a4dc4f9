"""The tokenizer of the arithmetic example: whole phrases and single characters.

    python examples/arithmetic/tokenizer.py FOLDER

Any ASCII text of printable characters, newlines and tabs survives encoding and decoding. The four construction tags are
ordinary tokens: they stay when special tokens are skipped, since the construction's parser has to see them.
"""

from __future__ import annotations

import argparse
import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<|pad|>", "<|end|>", "<|unknown|>"
ROLES = {role: f"<|{role}|>" for role in ("system", "user", "assistant")}
TAGS = ["<analysis>", "</analysis>", "<reconstruction>", "</reconstruction>"]
STEPS = [f"Step {number}: " for number in range(1, 10)]
QUERY = ["Start with ", "Add ", "Subtract ", "Multiply by ", ". ", "What is the result?"]
SOLUTION = ["\\boxed{", "Wait, ", " is not ", "step ", " is ", " vs ", " same.", " differs."]
PROMPT = ["Query: ", "Wrong: ", "Correct: ", "Rewrite."]
DRILLS = ["Check: ", "Compare: ", "Copy: "]
PHRASES = [*TAGS, *STEPS, *QUERY, *SOLUTION, *PROMPT, *DRILLS]
CHARACTERS = [chr(code) for code in range(32, 127)] + ["\n", "\t"]

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] -}}"
    "{%- if message['role'] == 'assistant' -%}{{- '" + EOS + "' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '" + ROLES["assistant"] + "' -}}{%- endif -%}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer whose words are the phrases, longest first, and else single characters."""
    special = [PAD, EOS, UNKNOWN, *ROLES.values()]
    vocabulary = {token: number for number, token in enumerate([*special, *PHRASES, *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    longest_first = sorted(PHRASES, key=len, reverse=True)
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
    parser = argparse.ArgumentParser(description="Build the tokenizer and save it to a folder.")
    parser.add_argument("folder")
    folder = parser.parse_args().folder
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(folder)
    print(f"{len(tokenizer)} tokens saved to {folder}")


if __name__ == "__main__":
    main()
