"""verl's V1 trainers with TAPO's advantages, loss and metrics."""

# verl loads its plugins, ours among them, before a module of this package is begun: `tapo.plugin` waits for these.
import verl  # noqa: F401
