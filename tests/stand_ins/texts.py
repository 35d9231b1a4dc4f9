"""A wrong response, its correct sibling and an actor's rewriting of the one after the other."""

QUERY = [{"role": "user", "content": "28*3-39?"}]
WRONG = "Step 1: 28*3=84\nStep 2: 84-39=55\n\\boxed{55}"
RIGHT = "Step 1: 28*3=84\nStep 2: 84-39=45\n\\boxed{45}"
RECONSTRUCTION = "Step 1: 28*3=84\nStep 2: 84-39=55\nWait, 84-39 is not 55.\nStep 2: 84-39=45\n\\boxed{45}"
ANSWER = f"<analysis>Step 2.</analysis>\n<reconstruction>\n{RECONSTRUCTION}\n</reconstruction>"
SILENT = ANSWER.replace("Wait, 84-39 is not 55.\nStep 2: 84-39=45\n", "So the subtraction leaves forty-five of them.\n")
"""The answer without a reflection."""
