"""The words of the arithmetic example's tokenizer, in the order of the shipped base model's ids."""

from __future__ import annotations

from examples.common.vocabulary import PROMPT

STEPS = [f"Step {number}: " for number in range(1, 10)]
QUERY = ["Start with ", "Add ", "Subtract ", "Multiply by ", ". ", "What is the result?"]
SOLUTION = ["\\boxed{", "Wait, ", " is not ", "step ", " is ", " vs ", " same.", " differs."]
DRILLS = ["Check: ", "Compare: ", "Copy: "]
PHRASES = (*STEPS, *QUERY, *SOLUTION, *PROMPT, *DRILLS)
