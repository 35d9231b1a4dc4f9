"""Tiny tokenizers of the kinds that policies come with."""

import json

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<unk>", "</s>", "<pad>"]
TEXT = [
    "Step 1: 28*3=84\nStep 2: 84-39=55\nStep 3: 55+7=62\n\\boxed{62}",
    "Wait, 84-39 is not 55. Let me redo this step. Therefore the answer is \\frac{1}{2}.",
    "To find the total, we first need to know how many marbles she buys. So she needs 84 - 39 = 55 more  marbles.",
] * 4
ALPHABET = [chr(code) for code in range(32, 127)] + ["\n", "\u2581"]


def metaspace(scheme: str, model: str = "bpe") -> PreTrainedTokenizerFast:
    """SentencePiece as converted by transformers: a dummy prefix by the pre-tokenizer."""
    if model == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        trainer = trainers.BpeTrainer(
            vocab_size=220, special_tokens=SPECIAL, initial_alphabet=ALPHABET, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=220, special_tokens=SPECIAL, initial_alphabet=ALPHABET, unk_token="<unk>", show_progress=False
        )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    tokenizer.train_from_iterator(TEXT, trainer)
    return _wrapped(tokenizer)


def llama2() -> PreTrainedTokenizerFast:
    """Llama 2's legacy form: the dummy prefix by a normalizer, bytes for what the vocabulary lacks."""
    letters = [letter for letter in ALPHABET if letter != "\n"]
    words = ["\u2581" + word for text in TEXT for word in text.split()]
    trained = Tokenizer(models.BPE())
    trained.train_from_iterator(
        words, trainers.BpeTrainer(vocab_size=260, initial_alphabet=letters, show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    # Pieces for bytes belong to the model: they are no added tokens, and decoding keeps them.
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(model["vocab"], key=model["vocab"].get)]
    merges = [tuple(merge) for merge in model["merges"]]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _wrapped(tokenizer)


KINDS = {
    "metaspace first": lambda: metaspace("first"),
    "metaspace always": lambda: metaspace("always"),
    "unigram always": lambda: metaspace("always", "unigram"),
    "llama 2": llama2,
}


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def with_end_of_turn(tokenizer: PreTrainedTokenizerFast, special: bool) -> int:
    """Adds `<end_of_turn>` and a chat template that ends turns with it."""
    tokenizer.add_tokens([AddedToken("<end_of_turn>", special=special, normalized=False)], special_tokens=special)
    tokenizer.chat_template = (
        "{% for m in messages %}<start {{ m['role'] }}>{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    )
    return tokenizer.convert_tokens_to_ids("<end_of_turn>")
