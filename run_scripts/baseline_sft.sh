#!/usr/bin/env bash
# SFT in place of RL, in the Python environment that is active: what an RL run has sampled is learned by verl's
# sft_trainer from the model that the run began with, and the result is validated as the run's would be.
#
#   RUN=sft MODEL=cold_started DATA=folder CONFIG=qwen3_8b_fsdp STEPS=100 OUT=folder bash run_scripts/baseline_sft.sh
#
#   RUN         sft: trajectories that TAPO constructs (the paper's ablation); rejection: correct rollouts
#   MODEL       model that RL would begin with
#   DATA        folder with train.parquet and test.parquet
#   CONFIG      the run's recipe or YAML file, as of launch.sh
#   RL          its Hydra overrides, words with spaces between them; they load TAPO's group (default: +tapo=default,
#               nothing where CONFIG is a recipe, which loads it itself)
#   STEPS       RL steps whose data is learned, several in ascending order with spaces between them: one SFT for each
#   OUT         what is written
#   SEED        of every choice (default: 1)
#   SOURCE      a finished run with `dump` (sft) or `rollouts` (rejection) and metrics.jsonl in it
#               (default: collected in OUT/collected, by GRPO: a run with lambda_ref=0, or without TAPO)
#   STORE       in its place folders of `tapo cold-start build` (sft) or of `tapo rollout` (rejection): offline
#   SFT_CONFIG  YAML file of the SFT  (default: as cold_start_sft.sh);   SFT  its Hydra overrides;   NPROC  its processes
#   CHATS       further arguments of `tapo baseline sft-data`, such as "--template enable_thinking=false --most 4"
#
# OUT is then an RL run's folder to the evaluation: OUT/validation/STEP.jsonl, 0 for MODEL where it was validated, and
# OUT/metrics.jsonl, whose steps say what the data cost to generate. Started again it goes on; what is there stays.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
RUN="${RUN:?sft or rejection}"
MODEL="${MODEL:?a Hugging Face folder or name}"
DATA="${DATA:?a folder with train.parquet and test.parquet}"
export CONFIG="${CONFIG:?a recipe, or a YAML file}"
STEPS="${STEPS:?RL steps whose data is learned}"
OUT="$(mkdir -p "${OUT:?a folder to write to}" && cd "$OUT" && pwd)"
SEED="${SEED:-1}"
if [[ -z "${RL+set}" ]]; then RL="+tapo=default"; [[ "$CONFIG" == *.yaml ]] || RL=""; fi
case "$RUN" in
  sft) kind=constructed ;;
  rejection) kind=correct ;;
  *) echo "RUN=$RUN: allowed are sft, rejection" >&2; exit 1 ;;
esac
last="${STEPS##* }"
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# A run of the recipe: FOLDER STEPS TITLE MODEL, then Hydra overrides.
launch() {
  local folder="$1" steps="$2" title="$3" model="$4"
  shift 4
  # shellcheck disable=SC2086
  MODEL="$model" DATA="$DATA" OUT="$folder" VERL_FILE_LOGGER_PATH="$folder/metrics.jsonl" \
    python -m tapo.training_progress "$folder" "$steps" "$title" -- bash "$HERE/launch.sh" $RL \
    "trainer.logger=[console,file]" "trainer.default_local_dir=$folder/checkpoints" \
    "trainer.validation_data_dir=$folder/validation" "data.seed=$SEED" "$@"
}

if [[ -z "${STORE:-}" && -z "${SOURCE:-}" ]]; then
  SOURCE="$OUT/collected"
  if [[ ! -f "$SOURCE/complete" ]]; then
    say "Collecting $last steps of GRPO's rollouts"
    # Without a checkpoint to go on from, a run that was killed begins anew.
    [[ -d "$SOURCE/checkpoints" ]] || rm -rf "$SOURCE"
    collecting=("trainer.rollout_data_dir=$SOURCE/rollouts")
    case "$RUN" in
      sft) collecting+=("algorithm.tapo.dump_dir=$SOURCE/dump" algorithm.tapo.lambda_ref=0) ;;
      rejection) collecting+=(algorithm.tapo.enable=false) ;;
    esac
    launch "$SOURCE" "$last" collecting "$MODEL" "trainer.total_training_steps=$last" trainer.test_freq=-1 "${collecting[@]}"
    touch "$SOURCE/complete"
  fi
fi
mkdir -p "$OUT/validation"
if [[ -n "${SOURCE:-}" && -f "$SOURCE/validation/0.jsonl" ]]; then cp "$SOURCE/validation/0.jsonl" "$OUT/validation/"; fi

for steps in $STEPS; do
  work="$OUT/of_$steps"
  say "Chats of $steps steps"
  if [[ -n "${STORE:-}" ]]; then
    read -ra from <<< "$STORE"
  else
    from=("$SOURCE" --data "$DATA/train.parquet" --model "$MODEL" --last-step "$steps")
  fi
  # shellcheck disable=SC2086
  tapo baseline sft-data "${from[@]}" --kind "$kind" --seed "$SEED" --out "$work/chats" ${CHATS:-}

  say "SFT"
  # shellcheck disable=SC2086
  MODEL="$MODEL" DATA="$work/chats" OUT="$work/sft" CONFIG="${SFT_CONFIG:-}" STEPS=0 \
    bash "$HERE/cold_start_sft.sh" trainer.seed="$SEED" ${SFT:-}

  if [[ ! -f "$OUT/validation/$steps.jsonl" ]]; then
    say "Validation"
    rm -rf "$work/validated"
    launch "$work/validated" 0 validation "$work/sft/model" algorithm.tapo.enable=false \
      trainer.val_only=true trainer.val_before_train=true trainer.total_training_steps=1 trainer.resume_mode=disable
    mv "$work/validated/validation/0.jsonl" "$OUT/validation/$steps.jsonl"
  fi
  source=()
  if [[ -n "${SOURCE:-}" ]]; then source=(--source "$SOURCE"); fi
  tapo baseline sft-log "${source[@]}" --last-step "$steps" --data "$work/chats" --sft "$work/sft" \
    --validation "$work/validated/metrics.jsonl" --out "$OUT/metrics.jsonl"
done
