#!/usr/bin/env bash
# One RL run of a recipe in the Python environment that is active: CONFIG names a file of recipe/tapo/config, MODEL and
# DATA say what to train on what; further arguments are Hydra overrides.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export MODEL="${MODEL:?a Hugging Face folder or name}"
export DATA="${DATA:?a folder with train.parquet and test.parquet}"
exec python -m verl.trainer.main_ppo --config-path "$ROOT/recipe/tapo/config" --config-name "${CONFIG:?a recipe}" "$@"
