"""Trains the arithmetic example's base model from scratch: a Qwen3 of 0.9 million parameters, on the CPU, in minutes.

    python examples/arithmetic/pretrain.py [FOLDER]

The checkpoint under `base_model/` was written by this script with its defaults. It is trained until it is right about
half of the time: strong enough for groups with right rollouts, weak enough for groups with wrong ones.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
from drills import KINDS, draw_row
from sample import evaluate, report
from tokenizer import build_tokenizer
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

IGNORED = -100  # label of tokens without a loss


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=len(tokenizer),  # a larger one would make the log-probs of rollout and actor differ
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def encode_chat(tokenizer: PreTrainedTokenizerFast, user: str, assistant: str) -> tuple[list[int], list[int]]:
    """Token ids of a one-turn chat and its labels: the loss is on the answer and its end."""
    messages = [{"role": "user", "content": user}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt_ids = tokenizer(prompt).input_ids
    answer_ids = [*tokenizer(assistant).input_ids, tokenizer.eos_token_id]
    return prompt_ids + answer_ids, [IGNORED] * len(prompt_ids) + answer_ids


def collate(rows: list[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads on the right; with causal attention no mask is needed."""
    longest = max(len(ids) for ids, _ in rows)
    ids_NT = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in rows])
    labels_NT = torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in rows])
    return ids_NT, labels_NT


def backward(model: torch.nn.Module, rows: list[tuple[list[int], list[int]]], pad: int, parts: int = 2) -> float:
    """Gradient of the mean token loss over the rows, taken in parts of similar length to save padding."""
    rows = sorted(rows, key=lambda row: len(row[0]))
    total = sum(label != IGNORED for _, labels in rows for label in labels)
    size, mean_loss = -(-len(rows) // parts), 0.0
    for begin in range(0, len(rows), size):
        ids_NT, labels_NT = collate(rows[begin : begin + size], pad)
        logits_NTV = model(input_ids=ids_NT).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits_NTV.flatten(0, 1), labels_NT[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
        )
        (loss / total).backward()
        mean_loss += loss.item() / total
    return mean_loss


def build_optimizers(model: torch.nn.Module, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings and norms: AdamW alone needs several times the steps."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=muon_lr, weight_decay=0.0, momentum=0.95),
        torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear warm-up over 40 steps, then linear decay to zero."""
    return min((step + 1) / 40, 1 - step / steps)


def train(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, options: argparse.Namespace) -> None:
    rng = random.Random(options.seed)
    optimizers = build_optimizers(model, options.muon_lr, options.adam_lr)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, options.steps))
        for optimizer in optimizers
    ]
    started = time.monotonic()
    for step in range(1, options.steps + 1):
        texts = [draw_row(rng, options.mixture) for _ in range(options.rows)]
        loss = backward(model, [encode_chat(tokenizer, *text) for text in texts], tokenizer.pad_token_id)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        if step % 100 == 0 or step == options.steps:
            print(f"step {step:5d}  loss {loss:.3f}  {time.monotonic() - started:5.0f} s", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=Path(__file__).parent / "base_model", type=Path)
    parser.add_argument("--steps", type=int, default=2300)
    parser.add_argument("--rows", type=int, default=16, help="chats a step")
    kinds = tuple(map(str.upper, KINDS))
    parser.add_argument("--mixture", type=float, nargs=5, default=(0.3, 0.05, 0.1, 0.5, 0.05), metavar=kinds)
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--adam-lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--problems", type=int, default=200, help="held-out problems of the closing evaluation")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens")
    train(model, tokenizer, options)
    model.save_pretrained(options.folder)
    tokenizer.save_pretrained(options.folder)
    print(report(evaluate(model, tokenizer, options.problems, options.seed)))


if __name__ == "__main__":
    main()
