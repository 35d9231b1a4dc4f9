"""The commands with options that cannot work: one sentence and a status, never a traceback."""

import random

from typer.testing import CliRunner

from tapo.cli import COMMANDS, app
from tests.attack.texts import CODE, CONTROL, NUMBERS

VALUES = ["", "-1", "0", "nan", "inf", "-inf", "1e400", "100000000000", "none", "a=[1,", "=", "/dev/null", "/", "."]
VALUES += [*NUMBERS, *CODE, *(text for text in CONTROL if text != "\x00")]


def flags(options):
    return [f"--{name.replace('_', '-')}" for name in options.model_fields]


def test_commands(tally, tmp_path, monkeypatch):
    """Calls of every command with values that cannot work."""
    monkeypatch.chdir(tmp_path)
    draw = random.Random(0)
    for typed, (options, _) in COMMANDS.items():
        for _ in range(12):
            line = [*typed.split(), str(tmp_path / "none"), *(["--out", "out"] if draw.random() < 0.5 else [])]
            for _ in range(draw.randrange(1, 4)):
                line += [draw.choice(flags(options)), draw.choice(VALUES)]
            with tally.input():
                result = CliRunner().invoke(app, line)
            if result.exit_code == 0 and "dry-run" not in " ".join(line):
                tally.wrong.append((line, "it worked", result.output[-200:]))
            if not isinstance(result.exception, ValueError | OSError | SystemExit | type(None)):
                tally.wrong.append((line, repr(result.exception)))
            elif result.exception and "\n" in str(result.exception).strip() and len(str(result.exception)) > 2000:
                tally.wrong.append((line, "not a sentence"))
