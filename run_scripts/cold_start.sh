#!/usr/bin/env bash
# The whole cold start, in the Python environment that is active: data, rollouts, RL data, chats, SFT.
#
#   MODEL=Qwen/Qwen3-8B WORK=folder bash run_scripts/cold_start.sh
#   MODEL=Qwen/Qwen3-8B WORK=folder PARQUET=train.parquet REWARD="--reward-path my_reward.py --reward-name compute_score" \
#     bash run_scripts/cold_start.sh
#
#   MODEL    Hugging Face folder or name of the model to be trained
#   WORK     folder of everything written
#
# The data of a run that you have, taken as it is (prompts, data sources, reward):
#   PARQUET  verl parquet files, as data.train_files of the run, with spaces between them
#   REWARD   arguments that name its reward, such as "--reward-path FILE.py --reward-name FUNCTION --reward-kwarg KEY=VALUE"
#            (default: --reward-path verl, verl's own scoring by data_source, which a run without a reward has)
#   KEYS     "--prompt-key NAME" and "--reward-fn-key NAME", where the run sets data.prompt_key or data.reward_fn_key
#   EVAL     a verl parquet file that becomes WORK/rl/test.parquet (default: none). Nothing is decontaminated:
#            `tapo data decontaminate` does that.
#
# Or problems, to which prompts are made; DeepScaleR without any of these:
#   SOURCE       file of training problems (.parquet, .json, .jsonl, .csv)
#   INSTRUCTION  text behind every question, "none" for no such text
#                (default: Please reason step by step, and put your final answer within \boxed{}.)
#   EVAL         verl parquet files to decontaminate against, in place of AIME 2024, AIME 2025 and HMMT February 2025;
#                the first becomes WORK/rl/test.parquet
#   REWARD       as above              (default: math-verify on \boxed{})
#   PREPARE      further arguments of `tapo data prepare`
#
#   N        responses a query         (default: 8)
#   SEED     of every choice           (default: 1)
#   TEMPLATE data.apply_chat_template_kwargs of the run as KEY=VALUE, with spaces between them, "none" for none
#            (default: none with PARQUET, which is verl's default; else enable_thinking=false, which the recipes set)
#   THRESHOLD a response is correct iff its score is greater; algorithm.tapo.reward_threshold of the run (default: 0.5)
#   ROLLOUT, FILTER, BUILD, SFT        further arguments of the other stages, such as
#            ROLLOUT="--server http://one:8000/v1 --server http://two:8000/v1" or BUILD="--sft 10000 --ift 5000"
#
# Leaves WORK/rl/train.parquet, the rows that are neither mastered nor hopeless with every column as it was, for RL, and
# WORK/sft/model, its model; with WORK/rl/test.parquet, WORK/rl is DATA of the RL scripts.
# Every stage is skipped when its output is there and complete, and goes on where it was killed. The rollouts stop where
# none of the responses to the first 64 queries is correct, and show two of them (ROLLOUT=--keep-going goes on).
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
MODEL="${MODEL:?a Hugging Face folder or name}"
WORK="$(mkdir -p "${WORK:?a folder to write to}" && cd "$WORK" && pwd)"
N="${N:-8}"
SEED="${SEED:-1}"
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
if [[ -n "${PARQUET:-}" && -n "${SOURCE:-}${INSTRUCTION:-}${PREPARE:-}" ]]; then
  echo "PARQUET is taken as it is: it excludes SOURCE, INSTRUCTION and PREPARE" >&2
  exit 1
fi
if [[ -z "${PARQUET:-}" && -n "${KEYS:-}" ]]; then
  echo "KEYS names columns of PARQUET, which is not set" >&2
  exit 1
fi
threshold=(--reward-threshold "${THRESHOLD:-0.5}")
template=()
for pair in ${TEMPLATE:-${PARQUET:+none}}; do template+=(--template "$pair"); done

say "1/5 Data"
if [[ -n "${PARQUET:-}" ]]; then
  read -ra files <<< "$PARQUET"
  REWARD="${REWARD:---reward-path verl}"
  printf '%s is taken as it is\n' "${files[@]}"
else
  if [[ -z "${EVAL:-}" ]]; then
    EVAL=""
    for name in aime2024 aime2025 hmmt_feb_2025; do
      tapo data prepare "$name" --out "$WORK/data/$name.parquet" ${INSTRUCTION:+--instruction "$INSTRUCTION"}
      EVAL+=" $WORK/data/$name.parquet"
    done
  fi
  against=()
  for file in $EVAL; do against+=(--against "$file"); done
  files=("$WORK/data/train.parquet")
  # shellcheck disable=SC2086
  tapo data prepare "$([[ -n "${SOURCE:-}" ]] && echo custom || echo deepscaler)" ${SOURCE:+--source "$SOURCE"} \
    --out "${files[0]}" "${against[@]}" ${INSTRUCTION:+--instruction "$INSTRUCTION"} ${PREPARE:-}
fi

say "2/5 Rollouts"
# shellcheck disable=SC2086
tapo rollout "${files[@]}" --model "$MODEL" --out "$WORK/rollouts" --n "$N" --seed "$SEED" \
  "${template[@]}" "${threshold[@]}" ${REWARD:-} ${KEYS:-} ${ROLLOUT:-}

say "3/5 RL data: queries that are neither mastered nor hopeless"
data=()
for file in "${files[@]}"; do data+=(--data "$file"); done
# shellcheck disable=SC2086
tapo data filter "$WORK/rollouts" "${data[@]}" --out "$WORK/rl/train.parquet" --allow-missing "${threshold[@]}" \
  ${KEYS:-} ${FILTER:-}
# shellcheck disable=SC2086
set -- ${EVAL:-}
if [[ $# -gt 0 ]]; then cp "$1" "$WORK/rl/test.parquet"; fi

say "4/5 Corrective trajectories"
# shellcheck disable=SC2086
tapo cold-start build "$WORK/rollouts" --model "$MODEL" --out "$WORK/chats" --seed "$SEED" \
  "${template[@]}" "${threshold[@]}" ${REWARD:-} ${BUILD:-}

say "5/5 SFT"
# shellcheck disable=SC2086
MODEL="$MODEL" DATA="$WORK/chats" OUT="$WORK/sft" bash "$HERE/cold_start_sft.sh" ${SFT:-}
