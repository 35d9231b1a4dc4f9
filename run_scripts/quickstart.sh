#!/usr/bin/env bash
# The whole method on a CPU: data, cold start, RL, and what came of it.
#
#   bash run_scripts/quickstart.sh                   # TAPO
#   ALGORITHM=grpo bash run_scripts/quickstart.sh    # then the baseline: same cold start, data, seed and step count
#
#   ALGORITHM   "tapo", "grpo" or both         (default: tapo)
#   STEPS       RL steps                       (default: 20)
#   SEED        of data, cold start and RL     (default: 1)
#   OUTPUT      folder of everything written   (default: outputs/quickstart)
#
# The cold start's stages are skipped when their output is there and complete, and go on where they were killed.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ALGORITHM="${ALGORITHM:-tapo}"
STEPS="${STEPS:-20}"
SEED="${SEED:-1}"
OUTPUT="$(mkdir -p "${OUTPUT:-$TAPO_ROOT/outputs/quickstart}" && cd "${OUTPUT:-$TAPO_ROOT/outputs/quickstart}" && pwd)"
EXAMPLE="$TAPO_ROOT/examples/arithmetic"
BASE="$EXAMPLE/base_model"
COLD="$OUTPUT/cold_start"
export VERL_PLATFORM=cpu

for algorithm in $ALGORITHM; do
  [[ "$algorithm" == tapo || "$algorithm" == grpo ]] || { echo "ALGORITHM=$ALGORITHM: allowed are tapo, grpo" >&2; exit 1; }
done

say "1/6 Data"
python "$EXAMPLE/make_data.py" "$OUTPUT/data" --seed "$SEED"

say "2/6 Rollouts: the base model's own, and generated ones"
VLLM_LOGGING_LEVEL="${VLLM_LOGGING_LEVEL:-ERROR}" \
  tapo rollout "$OUTPUT/data/sampled.parquet" --model "$BASE" --out "$COLD/sampled" --seed "$SEED" \
  --max-tokens 192 --max-prompt-tokens 96 2> "$COLD.log" || { tail -n 40 "$COLD.log" >&2; exit 1; }
python "$EXAMPLE/seed_rollouts.py" "$OUTPUT/data/seeded.parquet" "$COLD/seeded" --model "$BASE" --seed "$SEED"

say "3/6 Corrective trajectories: the base model cannot construct yet, so a rule answers in its place"
tapo cold-start build "$COLD/sampled" "$COLD/seeded" --model "$BASE" --out "$COLD/chats" --seed "$SEED" \
  --answers "$EXAMPLE/teacher.py:answer" --prompt-file "$EXAMPLE/construction_prompt.txt" \
  --sft 4096 --ift 4096 --plain-share 0.85 --max-response-tokens 192

say "4/6 Cold start: verl's sft_trainer teaches the base model to construct and to reflect"
MODEL="$BASE" DATA="$COLD/chats" OUT="$COLD/sft" CONFIG="$EXAMPLE/config/cold_start.yaml" NPROC=1 STEPS=340 \
  PYTHONPATH="$EXAMPLE" OMP_NUM_THREADS=1 bash "$TAPO_ROOT/run_scripts/cold_start_sft.sh" \
  trainer.seed="$SEED" trainer.total_training_steps=340

export DATA="$OUTPUT/data" MODEL="$COLD/sft/model"
for algorithm in $ALGORITHM; do
  say "5/6 ${algorithm^^}: $STEPS steps of verl's main_ppo"
  export OUT="$OUTPUT/$algorithm"
  rm -rf "$OUT"
  overrides=("+tapo=cpu")
  if [[ "$algorithm" == tapo ]]; then
    overrides=("+tapo=[default,cpu]" "algorithm.tapo.dump_dir=$OUT/dump"
      "algorithm.tapo.construction.prompt_file=$EXAMPLE/construction_prompt.txt")
  fi
  VERL_FILE_LOGGER_PATH="$OUT/metrics.jsonl" PYTHONPATH="$EXAMPLE" \
    python -m tapo.training_progress "$OUT" "$STEPS" "$algorithm" -- \
    python -m verl.trainer.main_ppo --config-path "$EXAMPLE/config" --config-name rl \
    "${overrides[@]}" data.seed="$SEED" trainer.total_training_steps="$STEPS" "$@"
done

say "6/6 What came of it"
runs=()
for algorithm in grpo tapo; do
  if [[ -d "$OUTPUT/$algorithm/validation" ]]; then runs+=("$OUTPUT/$algorithm"); fi
done
tapo eval report "${runs[@]}" --out "$OUTPUT/report"
tapo plot "${runs[@]}" --out "$OUTPUT/report"
if [[ -d "$OUTPUT/tapo/dump" ]]; then
  tapo inspect "$OUTPUT/tapo/dump" --limit 3 --correct
  tapo inspect "$OUTPUT/tapo/dump" --html "$OUTPUT/report/trajectories.html"
fi
echo "Report, plots and page: $OUTPUT/report"
