#!/usr/bin/env bash
# TAPO, Megatron.
set -euo pipefail
CONFIG=qwen3_8b_megatron exec bash "$(dirname "${BASH_SOURCE[0]}")/launch.sh" "$@"
