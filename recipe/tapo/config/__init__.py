"""A package, so that Hydra takes `--config-path pkg://tapo.recipes.config` wherever TAPO is installed."""
