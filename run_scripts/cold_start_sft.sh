#!/usr/bin/env bash
# The cold start's SFT with verl's sft_trainer, in the Python environment that is active.
#
#   MODEL=Qwen/Qwen3-8B DATA=folder OUT=folder bash run_scripts/cold_start_sft.sh [Hydra overrides]
#
#   MODEL    model to be trained
#   DATA     folder of `tapo cold-start build`: train.parquet and val.parquet
#   OUT      what is written: checkpoints, metrics.jsonl, log, and `model`, the folder that the RL scripts take as MODEL
#   CONFIG   YAML file               (default: the one beside this script, or else `tapo recipe path cold_start_sft`)
#   NPROC    processes on this node  (default: 8); TORCHRUN replaces --standalone for several nodes
#
# Killed and started again it goes on from its last checkpoint; finished, it does nothing. An OUT that was begun with
# other data, another model or other options is refused.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export MODEL="${MODEL:?a Hugging Face folder or name}"
export DATA="${DATA:?the folder of tapo cold-start build}"
export OUT="${OUT:?a folder to write to}"
if [[ -z "${CONFIG:-}" ]]; then
  CONFIG="$HERE/cold_start_sft.yaml"
  [[ -f "$CONFIG" ]] || CONFIG="$(tapo recipe path cold_start_sft)"
fi
NPROC="${NPROC:-8}"

for file in "$DATA/train.parquet" "$DATA/val.parquet" "$CONFIG"; do
  [[ -f "$file" ]] || { echo "$file is missing" >&2; exit 1; }
done
mkdir -p "$OUT"
stamp="$(printf '%s\n' "$MODEL" "$*"; cat "$CONFIG" "$DATA/train.parquet" "$DATA/val.parquet" | cksum)"
if [[ -f "$OUT/stamp" && "$(cat "$OUT/stamp")" != "$stamp" ]]; then
  echo "$OUT was begun with another model, other data or other options: name another OUT, or delete it." >&2
  exit 1
fi
if [[ -e "$OUT/model/config.json" ]]; then
  echo "$OUT/model is complete"
  exit 0
fi
echo "$stamp" > "$OUT/stamp"
export VERL_FILE_LOGGER_PATH="$OUT/metrics.jsonl"
# shellcheck disable=SC2086
python -m tapo.training_progress "$OUT" "${STEPS:-0}" "cold start" -- \
  torchrun ${TORCHRUN:---standalone} --nproc_per_node="$NPROC" -m verl.trainer.sft_trainer \
  --config-path "$(cd "$(dirname "$CONFIG")" && pwd)" --config-name "$(basename "$CONFIG" .yaml)" "$@"
last="$(cat "$OUT/checkpoints/latest_checkpointed_iteration.txt")"
written="checkpoints/global_step_$last/huggingface"
[[ -f "$OUT/$written/config.json" ]] || { echo "no model in $OUT/$written" >&2; exit 1; }
# What the chats teach to write lies beside the model before that counts as complete.
python -m tapo.cold_start.taught_form "$DATA/train.parquet" "$OUT/$written"
ln -sfn "$written" "$OUT/model"
echo "The cold-started model is $OUT/model"
