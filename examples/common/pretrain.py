"""Trains a task's base model from scratch: a Qwen3 of a million parameters, on the CPU, in minutes.

    python examples/common/pretrain.py TASK [FOLDER]

An example's shipped `base_model` was written by this script with its defaults.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from examples.common.sample import evaluate, report
from examples.common.task import Task, load_task
from examples.common.tokenizer import build_tokenizer

IGNORED = -100  # label of tokens without a loss


def build_model(task: Task, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=len(tokenizer),  # a larger one would make the log-probs of rollout and actor differ
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **{"max_position_embeddings": 1024, "tie_word_embeddings": True, **task.model},
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


def draw_row(task: Task, rng: random.Random) -> tuple[str, str]:
    """One (user text, assistant text) about a problem of the training split."""
    problem = task.draw(rng, "train")
    [drill] = rng.choices(list(task.drills.values()), [drill.weight for drill in task.drills.values()])
    return drill.draw(problem, rng)


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


def train(task: Task, model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, options: argparse.Namespace) -> None:
    rng = random.Random(options.seed)
    optimizers = build_optimizers(model, options.muon_lr, options.adam_lr)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, options.steps))
        for optimizer in optimizers
    ]
    started = time.monotonic()
    for step in range(1, options.steps + 1):
        texts = [draw_row(task, rng) for _ in range(options.rows)]
        loss = backward(model, [encode_chat(tokenizer, *text) for text in texts], tokenizer.pad_token_id)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        if step % 100 == 0 or step == options.steps:
            print(f"step {step:5d}  loss {loss:.3f}  {time.monotonic() - started:5.0f} s", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", type=Path, help="folder of the task")
    parser.add_argument("folder", nargs="?", type=Path, help="default: the task's base_model")
    parser.add_argument("--steps", type=int, help="default of this and the next three: the task's")
    parser.add_argument("--rows", type=int, help="chats a step")
    parser.add_argument("--muon-lr", type=float)
    parser.add_argument("--adam-lr", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--problems", type=int, default=200, help="held-out problems of the closing evaluation")
    options = parser.parse_args()
    options.folder = options.folder or options.task / "base_model"
    for name, value in load_task(options.task).pretraining._asdict().items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main() -> None:
    options = parse_arguments()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    task = load_task(options.task)
    tokenizer = build_tokenizer(task)
    model = build_model(task, tokenizer)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens")
    train(task, model, tokenizer, options)
    model.save_pretrained(options.folder)
    tokenizer.save_pretrained(options.folder)
    print(report(evaluate(task, model, tokenizer, options.problems, options.seed)))


if __name__ == "__main__":
    main()
