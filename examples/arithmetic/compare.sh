#!/usr/bin/env bash
# The comparison on the arithmetic example: one cold start, then every run of compare.yaml with every seed.
#
#   bash examples/arithmetic/compare.sh [options of tapo compare]
#
# Killed and started again it goes on.
source "$(dirname "${BASH_SOURCE[0]}")/../../run_scripts/environment.sh"
cd "$TAPO_ROOT"
EXAMPLE=arithmetic ALGORITHM=none OUTPUT=outputs/arithmetic/start bash run_scripts/quickstart.sh
PYTHONPATH="$TAPO_ROOT" exec tapo compare examples/arithmetic/compare.yaml "$@"
