"""What TAPO builds on in verl, checked where a run starts: a verl that has changed it gives one sentence then, and no
AttributeError in the middle of the run.

The table is `contract.yaml`. It is held against verl's source, which is not imported, so that the launch command can
check before Ray starts. The tests check the same table, and that nothing of verl's which TAPO imports or overrides is
missing from it.
"""

import ast
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from tapo.launch.definitions import NotCallableError, find, signature
from tapo.versions import installed_versions

logger = logging.getLogger(__name__)

TESTED_VERL = ("0.9.1",)
"""The versions that the tests have run with; docs/versions.md says with what else."""

ANY_VERL = "TAPO_ANY_VERL"
"""Environment variable: set to 1, a broken contract is a warning."""

SHOWN = 5
"""Breaches that the sentence spells out."""

Contract = dict[str, dict[str, list]]
"""`module:name` of what is used of a package, and the arguments of each claim about it."""


class ContractError(RuntimeError):
    """The installed verl is not what TAPO was written for."""


def overridden(definition: ast.stmt, *names: str) -> str | None:
    """What a definition has other than exactly these parameters, which verl gives to an override of ours."""
    found = list(signature(definition).parameters)
    return None if found == list(names) else f"has parameters ({', '.join(found)}), not ({', '.join(names)})"


def called(definition: ast.stmt, positional: int, *keywords: str) -> str | None:
    """What keeps it from being called with so many positional arguments (`self` included) and these by keyword."""
    found = signature(definition)
    try:
        found.bind(*range(positional), **dict.fromkeys(keywords))
    except TypeError as error:
        return f"has parameters {found}: {error}".replace("=Ellipsis", "=...")
    return None


def says(definition: ast.stmt, *fragments: str) -> str | None:
    """What it lacks of these fragments in this order, as `ast.unparse` spells them."""
    text, start = ast.unparse(definition), 0
    for fragment in fragments:
        start = text.find(fragment, start)
        if start < 0:
            return f"does not say `{fragment}` where expected"
    return None


CLAIMS: dict[str, Callable[..., str | None]] = {"overridden": overridden, "called": called, "says": says}
"""Each says what is wrong with a definition, or None."""

_TABLES = yaml.safe_load(Path(__file__).with_name("contract.yaml").read_text(encoding="utf-8"))
CONTRACT: Contract = _TABLES["training"]
"""What a training run uses."""
BESIDE_TRAINING: Contract = _TABLES["beside_training"]
"""What the cold start, the evaluation and the CPU platform use. A run does not check it; the tests do."""


def breaches(contract: Contract) -> Iterator[str]:
    """What the installed packages lack or have otherwise."""
    for key, claims in contract.items():
        module, _, name = key.partition(":")
        definition = find(module, name)
        if definition is None:
            yield f"{key} is missing"
            continue
        try:
            problems = (CLAIMS[claim](definition, *wanted) for claim, wanted in claims.items())
            yield from (f"{key} {problem}" for problem in problems if problem)
        except NotCallableError as error:
            yield f"{key} {error}"


def check_contract() -> None:
    """Make sure that the installed verl is what TAPO's training was written for; nothing is imported.

    Raises:
        ContractError: names the breaches, the installed versions and those that were tested. With the environment
            variable `TAPO_ANY_VERL=1` it is logged as a warning.
    """
    found = list(breaches(CONTRACT))
    if not found:
        return
    installed = ", ".join(" ".join(pair) for pair in installed_versions(("verl", "TransferQueue")).items())
    sentence = (
        f"what is installed ({installed or 'no verl'}) is not what this TAPO was written for (tested: verl "
        f"{', '.join(TESTED_VERL)}): {'; '.join(found[:SHOWN])}"
        + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    )
    if os.environ.get(ANY_VERL) != "1":
        raise ContractError(f"{sentence}. Install a tested version, or set {ANY_VERL}=1 to go on regardless.")
    logger.warning("%s", sentence)


def assert_registered() -> None:
    """Make sure that verl has loaded this plugin: it skips one that fails at import with a debug message.

    Raises:
        RuntimeError: verl's registry does not know the estimator `tapo`.
    """
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    if "tapo" not in ADV_ESTIMATOR_REGISTRY:
        raise RuntimeError(
            "verl has not loaded the TAPO plugin. Check that VERL_USE_EXTERNAL_PLUGINS is unset, `auto` or lists tapo, "
            "that tapo-verl is installed where verl is, and that `python -c 'import tapo.plugin'` succeeds."
        )
