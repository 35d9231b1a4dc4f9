"""The name under which launch configs that are written out know the check of a run."""

from tapo.launch.checks import CheckBeforeRay

__all__ = ["CheckBeforeRay"]
