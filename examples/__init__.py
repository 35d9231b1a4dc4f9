"""Tasks small enough to train on a CPU, and in `examples.common` what they share."""
