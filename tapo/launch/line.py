"""A launch line of `verl.trainer.main_ppo`, composed without being started."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

PROGRAM = "verl.trainer.main_ppo"
CONFIG_MODULE = "verl.trainer.config"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"launch line: {message}")


def _hydra_arguments() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-path", "-cp")
    parser.add_argument("--config-name", "-cn", default="ppo_trainer")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("overrides", nargs="*")
    return parser


def hydra_arguments(line: Sequence[str]) -> list[str]:
    """What a launch line hands to Hydra: what stands behind the program, or all of it where none is named.

    Raises:
        ValueError: the line starts another program.
    """
    words = [word for word in line if word.strip() and word != "\\"]
    for number, word in enumerate(words):
        if word == PROGRAM or word.endswith("/main_ppo.py"):
            return words[number + 1 :]
    if words and words[0].rpartition("/")[2].startswith(("python", "bash", "sh", "ray", "torchrun")):
        raise ValueError(f"launch line: got {' '.join(words[:4])!r}, needs `python -m {PROGRAM} ...`")
    return words


def compose_line(line: Sequence[str]) -> DictConfig:
    """The config of a launch line, as its run would have it.

    Args:
        line: words as a shell hands them over: `python -m verl.trainer.main_ppo ...`, or its arguments alone.

    Raises:
        ValueError: it starts another program, has an argument of Hydra's that composes nothing, or does not compose.
    """
    arguments = _hydra_arguments().parse_intermixed_args(hydra_arguments(line))
    name, overrides = arguments.config_name.removesuffix(".yaml"), list(arguments.overrides)
    main, further = _place(arguments.config_path), arguments.config_dir
    if further:
        further = str(Path(further).expanduser().absolute())
        # Hydra looks for the primary config in both; composing alone, it does in the first.
        if (Path(further) / f"{name}.yaml").is_file():
            main, further = further, main
        overrides.append(f"hydra.searchpath=[{further if '://' in further else f'file://{further}'}]")
    GlobalHydra.instance().clear()
    try:
        with _initialised(main):
            return compose(name, overrides=overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"launch line: {error}") from error


def _place(config_path: str | None) -> str:
    """A line's `--config-path`: `pkg://` or an absolute folder; others are beside verl's program."""
    if config_path is None:
        return f"pkg://{CONFIG_MODULE}"
    path = Path(config_path).expanduser()
    if "://" in config_path or path.is_absolute():
        return str(config_path if "://" in config_path else path)
    import verl.trainer

    return str((Path(verl.trainer.__file__).parent / path).absolute())


def _initialised(place: str) -> Any:
    if place.startswith("pkg://"):
        return initialize_config_module(place.removeprefix("pkg://"), version_base=None)
    return initialize_config_dir(place.removeprefix("file://"), version_base=None)
