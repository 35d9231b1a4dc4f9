#!/usr/bin/env bash
# The whole method on a CPU: data, cold start, RL, and what came of it.
#
#   bash run_scripts/quickstart.sh                    # GRPO, then TAPO: same cold start, data, seed and step count
#   ALGORITHM=tapo bash run_scripts/quickstart.sh     # TAPO alone
#
#   EXAMPLE     a task of examples/, or the folder of your own: see docs/your_own_task.md   (default: roads)
#   ALGORITHM   "grpo", "tapo", both, or "none", which ends behind the cold start   (default: "grpo tapo")
#   COPY        "verbatim" or "anchored": algorithm.tapo.construction.copy     (default: verbatim)
#   CORRECTION  "guided", "own" or "mixed": algorithm.tapo.construction.correction   (default: guided)
#   STEPS       RL steps                       (default: the example's)
#   SEED        of data, cold start and RL     (default: 1)
#   OUTPUT      folder of everything written   (default: outputs/quickstart, or outputs/quickstart-EXAMPLE for another)
#
# The cold start's stages are skipped when their output is there and complete, and go on where they were killed.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ALGORITHM="${ALGORITHM:-grpo tapo}"
DEFAULT_EXAMPLE=roads
EXAMPLE="${EXAMPLE:-$DEFAULT_EXAMPLE}"
SEED="${SEED:-1}"
COPY="${COPY:-verbatim}"
CORRECTION="${CORRECTION:-guided}"
COMMON="$TAPO_ROOT/examples/common"
TEACHER="$COMMON/teacher.py:answer"
if [[ "$COPY" == anchored ]]; then TEACHER="$COMMON/teacher.py:quoting_answer"; fi

TASK="$EXAMPLE"
if [[ "$EXAMPLE" != */* ]]; then TASK="$TAPO_ROOT/examples/$EXAMPLE"; fi
if [[ ! -f "$TASK/quickstart.sh" ]]; then
  shipped="$(cd "$TAPO_ROOT/examples" && echo */quickstart.sh | sed 's|/quickstart.sh||g')"
  echo "EXAMPLE=$EXAMPLE: $TASK/quickstart.sh is missing; there are $shipped, or the folder of a task, with a / in it" >&2
  exit 1
fi
TASK="$(cd "$TASK" && pwd)"
rl_steps="" sft_steps="" max_prompt_tokens="" max_response_tokens="" make_data=() stores=() build=()
# shellcheck source=/dev/null
source "$TASK/quickstart.sh"
STEPS="${STEPS:-$rl_steps}"

suffix="-$(basename "$TASK")"
OUTPUT="${OUTPUT:-$TAPO_ROOT/outputs/quickstart${suffix#"-$DEFAULT_EXAMPLE"}}"
OUTPUT="$(mkdir -p "$OUTPUT" && cd "$OUTPUT" && pwd)"
if [[ "$(cat "$OUTPUT/task" 2>/dev/null || echo "$TASK")" != "$TASK" ]]; then
  echo "$OUTPUT was begun with $(cat "$OUTPUT/task"): name another OUTPUT, or delete it." >&2
  exit 1
fi
echo "$TASK" > "$OUTPUT/task"
BASE="$TASK/base_model"
PROMPT="$COMMON/construction_prompt.txt"
OWN_PROMPT="$COMMON/own_prompt.txt"
COLD="$OUTPUT/cold_start"
export TASK VERL_PLATFORM=cpu PYTHONPATH="$TAPO_ROOT"

for algorithm in $ALGORITHM; do
  [[ "$algorithm" == tapo || "$algorithm" == grpo || "$ALGORITHM" == none ]] ||
    { echo "ALGORITHM=$ALGORITHM: allowed are tapo, grpo, none" >&2; exit 1; }
done

say "1/6 Data"
python "$COMMON/make_data.py" "$TASK" "$OUTPUT/data" "${make_data[@]}" --seed "$SEED"

say "2/6 Rollouts for the cold start: ${stores[*]}"
for store in "${stores[@]}"; do
  if [[ "$store" == seeded ]]; then
    python "$COMMON/seed_rollouts.py" "$TASK" "$OUTPUT/data/seeded.parquet" "$COLD/seeded" --model "$BASE" --seed "$SEED"
  else
    VLLM_LOGGING_LEVEL="${VLLM_LOGGING_LEVEL:-ERROR}" \
      tapo rollout "$OUTPUT/data/$store.parquet" --model "$BASE" --out "$COLD/$store" --seed "$SEED" \
      --max-tokens "$max_response_tokens" --max-prompt-tokens "$max_prompt_tokens" 2> "$COLD.log" ||
      { tail -n 40 "$COLD.log" >&2; exit 1; }
  fi
done

say "3/6 Corrective trajectories"
tapo cold-start build "${stores[@]/#/$COLD/}" --model "$BASE" --out "$COLD/chats" --seed "$SEED" \
  --copy "$COPY" --correction "$CORRECTION" --prompt-file "$PROMPT" --own-prompt-file "$OWN_PROMPT" --max-response-tokens "$max_response_tokens" "${build[@]}"

say "4/6 Cold start: verl's sft_trainer teaches the base model to construct and to reflect"
replay=()
if [[ -f "$OUTPUT/data/replay.parquet" ]]; then
  replay=("data.train_files=['$COLD/chats/train.parquet','$OUTPUT/data/replay.parquet']")
fi
MODEL="$BASE" DATA="$COLD/chats" OUT="$COLD/sft" CONFIG="$TASK/config/cold_start.yaml" NPROC=1 STEPS="$sft_steps" \
  OMP_NUM_THREADS=1 bash "$TAPO_ROOT/run_scripts/cold_start_sft.sh" \
  trainer.seed="$SEED" trainer.total_training_steps="$sft_steps" ${replay[@]+"${replay[@]}"}

if [[ "$ALGORITHM" == none ]]; then exit 0; fi
export DATA="$OUTPUT/data" MODEL="$COLD/sft/model"
for algorithm in $ALGORITHM; do
  say "5/6 ${algorithm^^}: $STEPS steps of verl's main_ppo"
  export OUT="$OUTPUT/$algorithm"
  rm -rf "$OUT"
  overrides=("+tapo=cpu")
  if [[ "$algorithm" == tapo ]]; then
    overrides=("+tapo=[default,cpu]" "algorithm.tapo.dump_dir=$OUT/dump"
      "algorithm.tapo.construction.copy=$COPY" "algorithm.tapo.construction.correction=$CORRECTION"
      "algorithm.tapo.construction.prompt_file=$PROMPT" "algorithm.tapo.construction.own_prompt_file=$OWN_PROMPT")
    # Where the task has a rule for it, constructions are judged beyond their answer.
    if [[ -f "$TASK/check.py" ]]; then overrides+=("algorithm.tapo.construction.check=$COMMON/check.py:check"); fi
  fi
  VERL_FILE_LOGGER_PATH="$OUT/metrics.jsonl" \
    python -m tapo.training_progress "$OUT" "$STEPS" "$algorithm" -- \
    python -m verl.trainer.main_ppo --config-path "$TASK/config" --config-name rl \
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
  # Those of the first steps: where the policy has learned from them, few are constructed any more.
  tapo inspect "$OUTPUT/tapo/dump" --limit 3 --correct --step 1-4
  tapo inspect "$OUTPUT/tapo/dump" --html "$OUTPUT/report/trajectories.html"
fi
echo "Report, plots and page: $OUTPUT/report"
