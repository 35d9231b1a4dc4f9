"""Samples a task's model: its accuracy, its eligible groups, its valid constructions.

python examples/common/sample.py TASK FOLDER [--problems 200] [--show 2]
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.common.task import Problem, Task, load_task
from tapo.core.answer import parse_construction
from tapo.core.funnel import ConstructionError
from tapo.core.phrases import load_detector
from tapo.core.reconstruction import splice
from tapo.rewards.boxed import last_boxed

PROMPT = (Path(__file__).parent / "construction_prompt.txt").read_text()
GROUP, MIN_RIGHT, MIN_WRONG, MAX_PAIRS = 8, 2, 4, 4


@dataclass
class Evaluation:
    """Counts of one evaluation; shares are of `rollouts`, `problems` or `pairs`."""

    problems: int = 0
    rollouts: int = 0
    right: int = 0
    greedy_right: int = 0
    solved: int = 0
    eligible: int = 0
    reflecting: int = 0
    reflecting_right: int = 0
    needless: int = 0
    pairs: int = 0
    faults: Counter = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


@torch.inference_mode()
def generate(
    model, tokenizer, prompts: list[str], *, greedy: bool = False, max_new_tokens: int = 192, batch: int = 256
) -> list[str]:
    """Answers to user messages, in batches of prompts of similar length."""
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": p}], tokenize=False, add_generation_prompt=True)
        for p in prompts
    ]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    answers = [""] * len(texts)
    for begin in range(0, len(order), batch):
        chosen = order[begin : begin + batch]
        encoded = tokenizer([texts[i] for i in chosen], return_tensors="pt", padding=True, padding_side="left")
        sampling = {"do_sample": False} if greedy else {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        out = model.generate(
            input_ids=encoded.input_ids,
            attention_mask=encoded.attention_mask,
            max_new_tokens=max_new_tokens,
            use_cache=True,
            **sampling,
        )
        answers_text = tokenizer.batch_decode(out[:, encoded.input_ids.shape[1] :], skip_special_tokens=True)
        for i, answer in zip(chosen, answers_text, strict=True):
            answers[i] = answer
    return answers


def evaluate(task: Task, model, tokenizer, problems: int, seed: int, construct: bool = False) -> Evaluation:
    """Samples a group for each held-out problem and, with `construct`, constructions for the eligible groups."""
    rng = random.Random(f"evaluation {seed}")
    torch.manual_seed(seed)
    model.eval()
    drawn = [task.draw(rng, "test") for _ in range(problems)]
    sampled = generate(model, tokenizer, [p.query for p in drawn for _ in range(GROUP)])
    greedy = generate(model, tokenizer, [p.query for p in drawn], greedy=True)
    result = Evaluation(problems=problems, rollouts=len(sampled))
    result.greedy_right = sum(is_right(p, text) for p, text in zip(drawn, greedy, strict=True))
    pairs: list[tuple[Problem, str, str]] = []
    for index, problem in enumerate(drawn):
        group = sampled[index * GROUP : (index + 1) * GROUP]
        right = [text for text in group if is_right(problem, text)]
        wrong = [text for text in group if not is_right(problem, text)]
        count_group(task, problem, group, len(right), result)
        if len(right) >= MIN_RIGHT and len(wrong) >= MIN_WRONG:
            result.eligible += 1
            pairs += [(problem, text, rng.choice(right)) for text in rng.sample(wrong, MAX_PAIRS)]
    if construct:
        measure_constructions(model, tokenizer, pairs, result)
    return result


def is_right(problem: Problem, text: str) -> bool:
    return last_boxed(text) == str(problem.answer)


def count_group(task: Task, problem: Problem, group: list[str], right: int, result: Evaluation) -> None:
    reflecting = [text for text in group if load_detector().reflects(text)]
    result.right += right
    result.solved += right > 0
    result.reflecting += len(reflecting)
    result.reflecting_right += sum(is_right(problem, text) for text in reflecting)
    result.needless += sum(task.needless_reflection(problem.query, text) for text in group)


def measure_constructions(model, tokenizer, pairs: list[tuple[Problem, str, str]], result: Evaluation) -> None:
    """Lets the model construct from each (problem, wrong, correct) and counts what is wrong with the answers."""
    prompts = [PROMPT.format(query=problem.query, wrong=wrong, correct=correct) for problem, wrong, correct in pairs]
    answers = generate(model, tokenizer, prompts, max_new_tokens=256)
    result.pairs = len(pairs)
    for (problem, wrong, _), prompt, answer in zip(pairs, prompts, answers, strict=True):
        fault = construction_fault(problem, wrong, answer, tokenizer)
        result.faults[fault or "valid"] += 1
        result.examples.append(f"--- {fault or 'valid'}\n{prompt}\n=>\n{answer}")


def construction_fault(problem: Problem, wrong: str, answer: str, tokenizer) -> str | None:
    """Why an answer to the construction prompt is of no use, as a run would count it; None if it is valid."""
    try:
        reconstruction = parse_construction(answer).reconstruction
        ids = [*tokenizer(wrong).input_ids, tokenizer.eos_token_id]
        spliced = splice(ids, reconstruction, tokenizer, max_length=tokenizer.model_max_length)
    except ConstructionError as error:
        return error.reason
    return None if is_right(problem, spliced.text) else "incorrect"


def report(result: Evaluation) -> str:
    def share(part: int, whole: int) -> str:
        return f"{part / whole:.3f} ({part}/{whole})" if whole else "- (0)"

    direct = result.rollouts - result.reflecting
    lines = [
        f"pass@1             {share(result.right, result.rollouts)}",
        f"pass@{GROUP}             {share(result.solved, result.problems)}",
        f"greedy             {share(result.greedy_right, result.problems)}",
        f"eligible groups    {share(result.eligible, result.problems)}",
        f"reflecting         {share(result.reflecting, result.rollouts)}",
        f"needlessly         {share(result.needless, result.rollouts)}",
        f"right if reflecting {share(result.reflecting_right, result.reflecting)}",
        f"right if not        {share(result.right - result.reflecting_right, direct)}",
    ]
    if result.pairs:
        lines.append(f"valid constructions {share(result.faults['valid'], result.pairs)}  {dict(result.faults)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", help="folder of the task")
    parser.add_argument("folder", help="the model")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="constructions to print")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.folder)
    model = AutoModelForCausalLM.from_pretrained(options.folder, dtype=torch.float32)
    result = evaluate(load_task(options.task), model, tokenizer, options.problems, options.seed, construct=True)
    print(report(result))
    print("\n".join(result.examples[: options.show]))


if __name__ == "__main__":
    main()
