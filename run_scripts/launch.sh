#!/usr/bin/env bash
# One RL run of a recipe in the Python environment that is active: further arguments are Hydra overrides.
#
#   MODEL=model DATA=folder CONFIG=qwen3_8b_fsdp bash launch.sh trainer.nnodes=2
#
#   MODEL    Hugging Face folder or name
#   DATA     folder with train.parquet and test.parquet
#   CONFIG   a recipe (`tapo recipe list`), or a YAML file of your own
#   DRY_RUN  1 prints the command and the composed config, and starts nothing
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export MODEL="${MODEL:?a Hugging Face folder or name}"
export DATA="${DATA:?a folder with train.parquet and test.parquet}"
CONFIG="${CONFIG:?a recipe, or a YAML file}"
if [[ "$CONFIG" == *.yaml ]]; then
  folder="$(cd "$(dirname "$CONFIG")" && pwd)"
elif [[ -f "$HERE/$CONFIG.yaml" ]]; then
  folder="$HERE"
else
  folder="pkg://tapo.recipes.config"
fi
command=(python -m verl.trainer.main_ppo --config-path "$folder" --config-name "$(basename "$CONFIG" .yaml)" "$@")
if [[ "${DRY_RUN:-0}" == 1 ]]; then
  echo "#$(printf ' %q' "${command[@]}")"
  exec "${command[@]}" --cfg job
fi
exec "${command[@]}"
