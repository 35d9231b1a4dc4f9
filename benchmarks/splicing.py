"""Parsing and splicing of 8,192-token rollouts with a byte-level BPE.

python benchmarks/splicing.py
"""

import random

from measure import measure
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tapo.core.reconstruction import parse_construction, splice

TOKENS = 8192
PROSE = (
    "we have the sum of n integers so that it is equal to x plus y minus one and therefore by induction let us "
    r"consider each case where f(x) = 2x + 1 since \frac{1}{2} holds for all primes p dividing the order of the group"
)
WORDS = PROSE.split()


def tokenizer():
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>")


def case(share: float):
    """(tokenizer, ids, answer) for a rollout of 8,192 tokens that errs after `share` of its text."""
    own = tokenizer()
    draw = random.Random(0)
    ids = own.encode(" ".join(draw.choice(WORDS) for _ in range(2 * TOKENS)))[:TOKENS]
    text = own.decode(ids)
    rest = " ".join(draw.choice(WORDS) for _ in range(TOKENS // 8))
    new = text[: int(share * len(text))] + "\nWait, that step is not right: the bound fails for small x.\n" + rest
    return own, ids, f"<analysis>The bound fails.</analysis>\n<reconstruction>\n{new}\n</reconstruction>"


def prepare_parse():
    answer = case(0.9)[2]
    return lambda: parse_construction(answer)


def prepare_splice(share):
    def prepare():
        own, ids, answer = case(share)
        reconstruction = parse_construction(answer).reconstruction
        return lambda: splice(ids, reconstruction, own, max_length=2 * TOKENS)

    return prepare


def main():
    table = Table("", "ms", "peak MiB above inputs", title=f"rollouts of {TOKENS} tokens")
    named = {"parse": prepare_parse}
    named |= {f"splice, error after {share:.0%}": prepare_splice(share) for share in (0.1, 0.5, 0.9)}
    for name, prepare in named.items():
        seconds, peak = measure(prepare)
        table.add_row(name, f"{1000 * seconds:.1f}", f"{peak:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
