#!/usr/bin/env bash
# The comparison on the roads example: two cold starts, then every run of compare.yaml with every seed.
#
#   bash examples/roads/compare.sh [options of tapo compare]
#
# Killed and started again it goes on. Some hours on two cores.
source "$(dirname "${BASH_SOURCE[0]}")/../../run_scripts/environment.sh"
cd "$TAPO_ROOT"
for kind in rare:0 frequent:40; do
  EXAMPLE=roads ALGORITHM=none REFLECTIVE="${kind#*:}" OUTPUT="outputs/roads/${kind%:*}" bash run_scripts/quickstart.sh
done
PYTHONPATH="$TAPO_ROOT" exec tapo compare examples/roads/compare.yaml "$@"
