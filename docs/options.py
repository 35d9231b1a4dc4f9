"""Prints docs/options.md from the classes of options: `python docs/options.py > docs/options.md`."""

from collections.abc import Iterator
from typing import Any

import typer

from tapo.baselines.opsd.config import OpsdConfig
from tapo.cli import app
from tapo.config import TapoConfig
from tapo.options import Options, type_name

HEAD = """# Options

Every option with its default, as the code has it: `python docs/options.py > docs/options.md` writes this page. A
command says the same with `--help`, and refuses what cannot work with key, value and what is allowed.
"""


def page() -> str:
    """The whole page."""
    parts = [
        HEAD,
        "## `algorithm.tapo`\n\nOf a run, in a YAML file or on the launch line.\n",
        table(settings(TapoConfig)),
        "## `algorithm.opsd`\n\nOf a run with `+tapo=opsd`: docs/baselines.md.\n",
        table(settings(OpsdConfig)),
    ]
    for name, command in commands(typer.main.get_command(app), "tapo"):
        shown_ones = [parameter for parameter in command.params if parameter.name != "help"]
        rows = map(row, sorted(shown_ones, key=lambda parameter: parameter.param_type_name))  # arguments first
        parts += [f"## `{name}`\n\n{command.help}\n", table(rows)]
    return "\n".join(parts)


def settings(options: type[Options], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(name, default, help) of each key, nested ones behind the others."""
    nested = []
    for name, field in options.model_fields.items():
        if isinstance(field.default, Options):
            nested.append((type(field.default), f"{prefix}{name}."))
        else:
            allowed = f" ({type_name(field.annotation)})"
            yield f"`{prefix}{name}`{allowed}", shown(field.default) or "`null`", field.description or ""
    for part, path in nested:
        yield from settings(part, path)


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(what is typed, command) of each command that does something."""
    for key, child in sorted(getattr(command, "commands", {}).items()):
        yield from commands(child, f"{name} {key}")
    if not hasattr(command, "commands"):
        yield name, command


def row(parameter: Any) -> tuple[str, str, str]:
    """(name, default, help) of an option or argument of a command."""
    is_option = parameter.param_type_name == "option"
    names = [*parameter.opts, *parameter.secondary_opts] if is_option else [parameter.metavar or parameter.name.upper()]
    default = "required" if parameter.required else shown(parameter.default)
    return ", ".join(f"`{name}`" for name in names), default, parameter.help or ""


def shown(default: Any) -> str:
    """A default as YAML and the command line have it."""
    if default is None:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def table(rows: Any) -> str:
    """Rows in Markdown; nothing where there is none."""
    lines = [" | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) for cells in rows]
    return (
        "\n".join(["| option | default | |", "| --- | --- | --- |", *(f"| {line} |" for line in lines), ""])
        if lines
        else ""
    )


if __name__ == "__main__":
    print(page(), end="")
