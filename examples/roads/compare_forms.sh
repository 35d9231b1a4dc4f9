#!/usr/bin/env bash
# The comparison of who writes the correction on the roads example: two cold starts, then every run of compare_forms.yaml
# with every seed.
#
#   bash examples/roads/compare_forms.sh [options of tapo compare]
#
# Killed and started again it goes on.
source "$(dirname "${BASH_SOURCE[0]}")/../../run_scripts/environment.sh"
cd "$TAPO_ROOT"
for kind in rare:0 frequent:40; do
  EXAMPLE=roads ALGORITHM=none CORRECTION=mixed REFLECTIVE="${kind#*:}" OUTPUT="outputs/roads/${kind%:*}_forms" bash run_scripts/quickstart.sh
done
PYTHONPATH="$TAPO_ROOT" exec tapo compare examples/roads/compare_forms.yaml "$@"
