#!/usr/bin/env bash
# The comparison of forms of construction on the arithmetic example: two cold starts, then every run of compare_forms.yaml
# with every seed.
#
#   bash examples/arithmetic/compare_forms.sh [options of tapo compare]
#
# Killed and started again it goes on.
source "$(dirname "${BASH_SOURCE[0]}")/../../run_scripts/environment.sh"
cd "$TAPO_ROOT"
for copy in verbatim anchored; do
  EXAMPLE=arithmetic ALGORITHM=none COPY="$copy" CORRECTION=mixed OUTPUT="outputs/arithmetic/$copy" bash run_scripts/quickstart.sh
done
PYTHONPATH="$TAPO_ROOT" exec tapo compare examples/arithmetic/compare_forms.yaml "$@"
