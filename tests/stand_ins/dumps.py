"""Records made by hand for the tests of what reads them."""

import json
from typing import Any

from tapo.records import ConstructionRecord, TrainedRecord


def construction_record(step=1, name="u1", outcome="trained", **fields):
    """A spliced construction; one with a reason of rejection for its outcome has nothing spliced."""
    trained = outcome == "trained"
    spliced: dict[str, Any] = {
        "prefix": "P1 ",
        "reflection": "R1 ",
        "correction": "C1",
        "prefix_length": 2,
        "reward": 1.0,
        "token_lengths": [2, 1, 3, 2, 0],
    }
    values = {
        "step": step,
        "uid": name,
        "key": f"{name}_ref_8_0",
        "query": "Q",
        "wrong_session": 0,
        "wrong": "P1 bad tail",
        "wrong_reward": 0.0,
        "correct_session": 1,
        "correct": "\n".join(f"sibling line {i}" for i in range(9)),
        "answer": "raw answer",
        "outcome": outcome,
        **dict.fromkeys(spliced),
    }
    if trained:
        values |= spliced
        values["answer"] = "<analysis>diagnosis</analysis><reconstruction>P1 R1 C1</reconstruction>"
    return ConstructionRecord(**(values | fields))


def construction(step=1, name="u1", outcome="trained", **fields):
    """The same as a dump's line holds it, the fields aside that dumps have not always had."""
    return construction_record(step, name, outcome, **fields).model_dump(exclude_unset=True)


def trained(name="u1", step=1, **fields):
    row = {"step": step, "key": f"{name}_ref_8_0", "constructed": True, "advantage": 0.5}
    row |= {"weights": [1.0, 0.0123, 10.0, 0.5, 0.25]} | fields
    return TrainedRecord(**row).model_dump(exclude_unset=True)


def write_dump(folder, records, rows=(), end=""):
    """Both kinds of lines as one process each would write them; `end` follows the last construction."""
    for kind, lines, rest in (("constructions", records, end), ("trained", rows, "")):
        text = "".join(json.dumps(line) + "\n" for line in lines) + rest
        (folder / f"{kind}-host-1.jsonl").write_text(text, encoding="utf-8")
    return folder
