import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parent))

TEXT = [
    "Step 1: 28*3=84\nStep 2: 84-39=55\nStep 3: 55+7=62\n\\boxed{62}",
    "Wait, 84-39 is not 55. Let me redo this step. Therefore the answer is \\frac{1}{2} \u2014 na\u00efve \u2208 R.",
    "We know that the sum of the first n integers is n(n+1)/2, so the total is 5050.",
]
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "


@pytest.fixture(scope="session")
def byte_tokenizer():
    """A byte-level BPE like Qwen's: merges across words' leading spaces, characters of several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")


@pytest.fixture
def tokenizer(byte_tokenizer):
    """The same with a chat template."""
    byte_tokenizer.chat_template = TEMPLATE
    return byte_tokenizer
