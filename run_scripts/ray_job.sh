#!/usr/bin/env bash
# Submits launch.sh as a job to a Ray cluster that is up: its variables, and overrides as arguments.
#
#   RAY_ADDRESS=http://head:8265 MODEL=/shared/model DATA=/shared/data CONFIG=qwen3_30b_a3b_megatron bash ray_job.sh
#
#   RAY_ADDRESS   of the cluster's dashboard
#   MODEL, DATA   as every node sees them
#   DRY_RUN       1 prints the command and the composed config, and submits nothing
#
# Every node needs the same environment, tapo-verl in it: a run that finds one without it stops and names it.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
for name in MODEL DATA CONFIG; do
  [[ -n "${!name:-}" ]] || { echo "$name is not set: see $0" >&2; exit 1; }
done
# The script by its name where the nodes have it, in their installation; its variables travel with it.
inner='exec bash "$(tapo recipe path launch.sh)" "$@"'
command=(
  ray job submit --address "${RAY_ADDRESS:?http://head:8265}" -- env
  MODEL="$MODEL" DATA="$DATA" CONFIG="$CONFIG" bash -c "$inner" launch.sh "$@"
)
if [[ "${DRY_RUN:-0}" == 1 ]]; then
  echo "#$(printf ' %q' "${command[@]}")"
  exec bash "$HERE/launch.sh" "$@"
fi
exec "${command[@]}"
