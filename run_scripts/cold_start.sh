#!/usr/bin/env bash
# The whole cold start, in the Python environment that is active: data, rollouts, RL data, chats, SFT.
#
#   MODEL=Qwen/Qwen3-8B WORK=folder bash run_scripts/cold_start.sh
#
#   MODEL    Hugging Face folder or name of the model to be trained
#   WORK     folder of everything written
#   SOURCE   file of training problems in place of DeepScaleR (.parquet, .json, .jsonl, .csv)
#   EVAL     verl parquet files to decontaminate against, in place of AIME 2024, AIME 2025 and HMMT February 2025
#   N        responses a query         (default: 8)
#   SEED     of every choice           (default: 1)
#   PREPARE, ROLLOUT, BUILD, SFT       further arguments of the four stages, such as
#            ROLLOUT="--server http://one:8000/v1 --server http://two:8000/v1" or BUILD="--sft 10000 --ift 5000"
#
# Leaves WORK/rl/train.parquet and WORK/rl/test.parquet (DATA of the RL scripts; the test file is the first of EVAL) and
# WORK/sft/model (their MODEL).
# Every stage is skipped when its output is there and complete, and goes on where it was killed.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
MODEL="${MODEL:?a Hugging Face folder or name}"
WORK="$(mkdir -p "${WORK:?a folder to write to}" && cd "$WORK" && pwd)"
N="${N:-8}"
SEED="${SEED:-1}"
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

say "1/5 Data"
if [[ -z "${EVAL:-}" ]]; then
  EVAL=""
  for name in aime2024 aime2025 hmmt_feb_2025; do
    tapo data prepare "$name" --out "$WORK/data/$name.parquet"
    EVAL+=" $WORK/data/$name.parquet"
  done
fi
against=()
for file in $EVAL; do against+=(--against "$file"); done
# shellcheck disable=SC2086
tapo data prepare "$([[ -n "${SOURCE:-}" ]] && echo custom || echo deepscaler)" ${SOURCE:+--source "$SOURCE"} \
  --out "$WORK/data/train.parquet" "${against[@]}" ${PREPARE:-}

say "2/5 Rollouts"
# shellcheck disable=SC2086
tapo rollout "$WORK/data/train.parquet" --model "$MODEL" --out "$WORK/rollouts" --n "$N" --seed "$SEED" ${ROLLOUT:-}

say "3/5 RL data: queries that are neither mastered nor hopeless"
tapo data filter "$WORK/rollouts" --data "$WORK/data/train.parquet" --out "$WORK/rl/train.parquet" --allow-missing
# shellcheck disable=SC2086
set -- $EVAL
cp "$1" "$WORK/rl/test.parquet"

say "4/5 Corrective trajectories"
# shellcheck disable=SC2086
tapo cold-start build "$WORK/rollouts" --model "$MODEL" --out "$WORK/chats" --seed "$SEED" ${BUILD:-}

say "5/5 SFT"
# shellcheck disable=SC2086
MODEL="$MODEL" DATA="$WORK/chats" OUT="$WORK/sft" bash "$HERE/cold_start_sft.sh" ${SFT:-}
