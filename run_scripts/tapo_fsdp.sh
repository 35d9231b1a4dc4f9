#!/usr/bin/env bash
# TAPO with FSDP2 and vLLM: MODEL, DATA and CONFIG as in launch.sh.
set -euo pipefail
CONFIG="${CONFIG:-qwen3_8b_fsdp}" exec bash "$(dirname "${BASH_SOURCE[0]}")/launch.sh" "$@"
