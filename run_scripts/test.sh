#!/usr/bin/env bash
# Sets up the environment and runs the tests: the fast ones, then the end-to-end ones on the real verl, but for those
# marked slow; `--all` runs these and the attacks too.
# Other arguments go to one pytest instead: `-m "not e2e and not attack" -n auto` runs the fast ones alone.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
source "$TAPO_ROOT/run_scripts/chromium.sh"
cd "$TAPO_ROOT"
say "Checking style and types"
ruff check .
ruff format --check .
mypy
THEN="e2e and not slow"
if [[ "${1:-}" == --all ]]; then
  THEN="e2e or attack"
elif [[ $# -gt 0 ]]; then
  exec python -m pytest "${WITHOUT_BROWSER[@]}" "$@"
fi
say "Running the fast tests, on every core"
OMP_NUM_THREADS=1 python -m pytest "${WITHOUT_BROWSER[@]}" -m "not e2e and not attack" -n auto
say "Running the end-to-end tests, one after the other"
exec python -m pytest -m "$THEN" --durations=30
