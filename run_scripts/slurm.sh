#!/usr/bin/env bash
#SBATCH --job-name=tapo
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
# A run of a recipe under Slurm: Ray's head on the first node of the allocation, the others join it, launch.sh on the head.
#
#   MODEL=/shared/model DATA=/shared/data CONFIG=qwen3_30b_a3b_megatron sbatch --nodes=4 slurm.sh
#
#   MODEL, DATA, CONFIG   as in launch.sh; further arguments are Hydra overrides
#   SETUP                 sourced on every node first: a file that activates the environment
#   PORT                  of Ray's head; 6379
#   DRY_RUN               1 prints the command and the composed config, and starts nothing
set -euo pipefail
[[ -z "${SETUP:-}" ]] || source "$SETUP"
# Slurm runs a copy of this file from a folder of its own: launch.sh is found where the package is installed.
launch="$(tapo recipe path launch.sh)"
nodes="${SLURM_NNODES:-1}"
gpus="${SLURM_GPUS_ON_NODE:-8}"
overrides=(trainer.nnodes="$nodes" trainer.n_gpus_per_node="$gpus" "$@")
if [[ "${DRY_RUN:-0}" == 1 ]]; then
  exec bash "$launch" "${overrides[@]}"
fi
mapfile -t hosts < <(scontrol show hostnames "${SLURM_JOB_NODELIST:?this script is for sbatch}")
on() { srun --overlap --nodes=1 --ntasks=1 -w "$1" bash -c "${SETUP:+source $(printf %q "$SETUP") && }$2"; }
head="$(on "${hosts[0]}" "hostname --ip-address" | awk '{print $1}')"
export MODEL DATA CONFIG RAY_ADDRESS="$head:${PORT:-6379}"
on "${hosts[0]}" "ray start --head --port=${PORT:-6379} --num-gpus=$gpus --block" &
for host in "${hosts[@]:1}"; do
  on "$host" "until ray status >/dev/null 2>&1; do sleep 2; done; ray start --address=$RAY_ADDRESS --num-gpus=$gpus --block" &
done
# A run that starts before all nodes are there would not find their GPUs.
count="import ray; ray.init(log_to_driver=False); print(sum(node['Alive'] for node in ray.nodes()))"
on "${hosts[0]}" "until [ \"\$(python -c $(printf %q "$count") 2>/dev/null)\" = $nodes ]; do sleep 2; done"
on "${hosts[0]}" "exec bash $(printf %q "$launch")$(printf ' %q' "${overrides[@]}")"
