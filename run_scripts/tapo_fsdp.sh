#!/usr/bin/env bash
# TAPO, FSDP2.
set -euo pipefail
CONFIG=qwen3_8b_fsdp exec bash "$(dirname "${BASH_SOURCE[0]}")/launch.sh" "$@"
