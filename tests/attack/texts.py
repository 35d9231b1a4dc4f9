"""Hostile texts, drawn by seed."""

import random

CONTROL = [
    "\x00",
    "\x1b[2J",
    "\x1b]0;x\x07",
    "\r",
    "\x0b",
    "\x85",
    "\u2028",
    "\ufeff",
    "\u202e",
    "\ud7ff",
    "\ufffd",
    "\u200b",
]
TAGS = [
    "<analysis>",
    "</analysis>",
    "<reconstruction>",
    "</reconstruction>",
    "<quote>",
    "</quote>",
    "<think>",
    "</think>",
]
CODE = [
    "__import__('os').system('touch {mark}')",
    "$(touch {mark})",
    "`touch {mark}`",
    "; touch {mark} #",
    "!!python/object/apply:os.system ['touch {mark}']",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "${oc.env:HOME}",
    "${now:%Y}",
    "{0.__class__.__init__.__globals__}",
    "%(x)s %s %n",
    "<img src=x onerror=\"document.title='{mark}'\">",
    "</script><script>document.title='{mark}'</script>",
    "javascript:document.title='{mark}'",
    "\\input{{mark}} \\write18{touch {mark}} \\def\\x{\\x\\x}\\x",
    "cos\nsystem\n(S'touch {mark}'\ntR.",
    "import os; os.system('touch {mark}')",
    'lambda: exec(\'open("{mark}", "w")\')',
]
"""What an interpreter, a shell, a template, a loader or a browser would act on; `{mark}` names what that leaves."""
PLACEHOLDERS = ["{query}", "{wrong}", "{correct}", "{solution}", "{}", "{0}", "{{", "}}"]
NUMBERS = [
    "9" * 400,
    "1e999",
    "-0",
    "0x10",
    "\u0661",
    "1_000",
    "\u00bd",
    "nan",
    "inf",
    "1/0",
]
TOWERS = ["9**9**9", "2^{2^{2^{99}}}", "(9^9)!!", "1" + "0" * 300 + "!"]
"""What nobody can work out."""


def code(mark):
    """The texts of `CODE`, which leave `mark` where they are obeyed."""
    return [text.replace("{mark}", str(mark)) for text in CODE]


def piece(draw: random.Random) -> str:
    """A short hostile text."""
    kinds = (CONTROL, TAGS, CODE, PLACEHOLDERS, NUMBERS, TOWERS)
    if draw.random() < 0.2:
        return "".join(chr(draw.randrange(32, 0xD7FF)) for _ in range(draw.randrange(1, 12)))
    return draw.choice(draw.choice(kinds))


def mutated(text: str, draw: random.Random) -> str:
    """The text with a few pieces cut out, doubled, moved, or hostile ones put in."""
    for _ in range(draw.randrange(1, 5)):
        begin = draw.randrange(len(text) + 1)
        end = min(len(text), begin + draw.randrange(1, 40))
        part = text[begin:end]
        match draw.randrange(6):
            case 0:
                text = text[:begin] + text[end:]
            case 1:
                text = text[:end] + part + text[end:]
            case 2:
                text = text[:begin] + piece(draw) + text[begin:]
            case 3:
                text = text[:begin] + part.swapcase() + text[end:]
            case 4:
                rest = text[:begin] + text[end:]
                at = draw.randrange(len(rest) + 1)
                text = rest[:at] + part + rest[at:]
            case 5:
                text = text[:begin]
    return text
