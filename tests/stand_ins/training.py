"""A program that leaves what a run of verl leaves, of made-up figures: `python training.py FOLDER KIND SEED STEPS`.

Killed, it goes on from its last step; like verl it begins its metrics anew then. The log names each step that it does.
KIND decides how accuracy grows; the environment variable PAUSE is the seconds of a step.
"""

import json
import os
import sys
import time
from pathlib import Path

PROBLEMS, SAMPLES, EVERY = 24, 4, 2
RESPONSE, PROMPT, ROWS = 50.0, 10.0, 16
GAIN = {"plain": 0.5, "better": 1.0, "none": 0.0}
CONSTRUCTED = {"better": 400.0}


def is_correct(kind, seed, step, problem, sample):
    """The share of correct samples grows from a third to a third and the kind's gain, with seeds a little apart."""
    share = min(1.0, 1 / 3 + GAIN[kind] * step / 8 + 0.02 * (seed - 2))
    place = (problem * SAMPLES + sample * 7 + seed) % (PROBLEMS * SAMPLES) / (PROBLEMS * SAMPLES)
    return place < share


def validate(folder, kind, seed, step):
    (folder / "validation").mkdir(exist_ok=True)
    lines = []
    for problem in range(PROBLEMS):
        for sample in range(SAMPLES):
            acc = float(is_correct(kind, seed, step, problem, sample))
            output = "Wait, no.\n\\boxed{1}" if (problem + sample) % 3 == 0 else "\\boxed{1}"
            row = {"input": f"p{problem}", "output": output, "gts": "1", "score": acc, "acc": acc, "step": step}
            lines.append(json.dumps(row | {"needless_reflection": int(problem % 6 == 0 and sample == 0)}))
    (folder / "validation" / f"{step}.jsonl").write_text("\n".join(lines) + "\n")


def metrics_of(kind, step):
    data = {"response_length/mean": RESPONSE, "prompt_length/mean": PROMPT, "timing_s/step": 2.0}
    data |= {"perf/total_num_tokens": ROWS * (RESPONSE + PROMPT), "training/global_step": step}
    if kind in CONSTRUCTED:
        data |= {"tapo/tokens/construct_generated": CONSTRUCTED[kind], "tapo/tokens/construct_trained": 100.0}
    return data


def main(folder, kind, seed, steps):
    folder, seed, steps = Path(folder), int(seed), int(steps)
    if kind == "broken":
        raise SystemExit("the reason why it is broken")
    checkpoint = folder / "checkpoint"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    with open(os.environ["VERL_FILE_LOGGER_PATH"], "w", buffering=1) as metrics:
        validate(folder, kind, seed, done)
        for step in range(done + 1, steps + 1):
            print(f"step {step} by {os.getpid()}", flush=True)
            time.sleep(float(os.environ.get("PAUSE", "0")))
            metrics.write(json.dumps({"step": step, "data": metrics_of(kind, step)}) + "\n")
            if step % EVERY == 0:
                validate(folder, kind, seed, step)
            checkpoint.write_text(str(step))


if __name__ == "__main__":
    main(*sys.argv[1:])
