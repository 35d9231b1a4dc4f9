#!/usr/bin/env bash
# The GRPO baseline of tapo_fsdp.sh: the same run with TAPO switched off.
set -euo pipefail
CONFIG="${CONFIG:-qwen3_8b_fsdp}" exec bash "$(dirname "${BASH_SOURCE[0]}")/launch.sh" algorithm.tapo.enable=false trainer.experiment_name=qwen3_8b_grpo "$@"
