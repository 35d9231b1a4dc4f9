"""Dump records made by hand for the tests of the inspection."""

import json


def construction(step=1, name="u1", outcome="trained", **fields):
    """A spliced construction; one with a reason of rejection for its outcome has nothing spliced."""
    record = {
        "step": step,
        "uid": name,
        "key": f"{name}_ref_8_0",
        "query": "Q",
        "wrong_session": 0,
        "wrong": "P1 bad tail",
        "wrong_reward": 0.0,
        "correct_session": 1,
        "correct": "\n".join(f"sibling line {i}" for i in range(9)),
        "answer": "<analysis>diagnosis</analysis><reconstruction>P1 R1 C1</reconstruction>",
        "prefix": "P1 ",
        "reflection": "R1 ",
        "correction": "C1",
        "prefix_length": 2,
        "reward": 1.0,
        "outcome": outcome,
        "token_lengths": [2, 1, 3, 2, 0],
    }
    if outcome != "trained":
        record |= dict.fromkeys(
            ("prefix", "reflection", "correction", "prefix_length", "reward", "token_lengths"), None
        ) | {"answer": "raw answer"}
    return record | fields


def trained(name="u1", step=1, **fields):
    row = {"step": step, "key": f"{name}_ref_8_0", "constructed": True, "advantage": 0.5}
    return row | {"weights": [1.0, 0.0123, 10.0, 0.5, 0.25]} | fields


def write_dump(folder, records, rows=(), end=""):
    """Both kinds of lines as one process each would write them; `end` follows the last construction."""
    for kind, lines, rest in (("constructions", records, end), ("trained", rows, "")):
        text = "".join(json.dumps(line) + "\n" for line in lines) + rest
        (folder / f"{kind}-host-1.jsonl").write_text(text, encoding="utf-8")
    return folder
