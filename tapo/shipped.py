"""`tapo recipe`: the whole-run recipes and launch scripts that come with the package, wherever it is installed."""

import re
import shutil
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

# Links to the repository's `recipe/tapo` and `run_scripts`; folders of their own in an installation.
RECIPES = Path(__file__).parent / "recipes" / "config"
SCRIPTS = Path(__file__).parent / "run_scripts"

LAUNCH_SCRIPTS = (
    "tapo_fsdp.sh",
    "tapo_megatron.sh",
    "grpo_fsdp.sh",
    "launch.sh",
    "ray_job.sh",
    "slurm.sh",
    "cold_start.sh",
    "cold_start_sft.sh",
    "baseline_sft.sh",
    "evaluate.sh",
)
"""The scripts that need no repository around them."""

app = typer.Typer(help="Recipes of whole runs, and the scripts that launch them.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="As `tapo recipe list` names it.")]


def shipped_files() -> dict[str, Path]:
    """Every recipe by the name that Hydra's `--config-name` takes, and every launch script by its file name."""
    recipes = {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}
    return recipes | {name: SCRIPTS / name for name in LAUNCH_SCRIPTS}


def shipped_file(name: str) -> Path:
    """The file of a recipe or a launch script.

    Raises:
        ValueError: there is none of that name.
    """
    files = shipped_files()
    if name.removesuffix(".yaml") in files:
        return files[name.removesuffix(".yaml")].resolve()
    raise ValueError(f"no recipe or script {name!r}; there are {', '.join(files)}")


def first_sentence(path: Path) -> str:
    """Of the comment that a recipe or a script begins with."""
    lines = (line for line in path.read_text().splitlines() if not line.startswith("#!"))
    comment = " ".join(line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines))
    match = re.match(r".*?[.:](?=\s|$)", comment)
    return (match[0] if match else comment).rstrip(".:")


@app.command("list")
def list_() -> None:
    """What there is: recipes for `verl.trainer.main_ppo` and `sft_trainer`, and scripts."""
    for name, path in shipped_files().items():
        print(f"{name:20} {first_sentence(path)}")


@app.command()
def show(name: Name) -> None:
    """Print a recipe or a script."""
    print(shipped_file(name).read_text(), end="")


@app.command()
def path(name: Name) -> None:
    """Print where a recipe or a script lies: `bash "$(tapo recipe path tapo_fsdp.sh)"`."""
    print(shipped_file(name))


@app.command()
def copy(
    names: Annotated[list[str] | None, typer.Argument(help="As `tapo recipe list` names them; default: all.")] = None,
    to: Annotated[Path, typer.Option(help="Folder, made where it is not there.")] = Path("."),
) -> None:
    """Copy recipes and scripts, to change them; a copied script takes the recipes that lie beside it, then ours."""
    sources = [shipped_file(name) for name in names or shipped_files()]
    # A script without those that it calls would not start.
    texts = "".join(source.read_text() for source in sources if source.suffix == ".sh")
    sources += [SCRIPTS / name for name in LAUNCH_SCRIPTS if f"/{name}" in texts]
    targets = {to / source.name: source for source in sources}
    for target in targets:
        if target.exists():
            raise ValueError(f"{target} is there already: name another folder with --to, or delete it")
    to.mkdir(parents=True, exist_ok=True)
    for target, source in targets.items():
        shutil.copy(source, target)
        print(target)
