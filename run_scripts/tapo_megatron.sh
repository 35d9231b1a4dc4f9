#!/usr/bin/env bash
# TAPO with Megatron and vLLM: MODEL, DATA and CONFIG as in launch.sh.
set -euo pipefail
CONFIG="${CONFIG:-qwen3_8b_megatron}" exec bash "$(dirname "${BASH_SOURCE[0]}")/launch.sh" "$@"
