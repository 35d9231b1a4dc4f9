#!/usr/bin/env bash
# Sets up the environment and runs the tests: the fast ones, then the end-to-end ones on the real verl, but for those
# marked slow; `--all` runs these too.
# Other arguments go to one pytest instead: `bash run_scripts/test.sh -m "not e2e" -n auto` runs the fast ones alone.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
source "$TAPO_ROOT/run_scripts/chromium.sh"
cd "$TAPO_ROOT"
say "Checking style and types"
ruff check .
ruff format --check .
mypy
END_TO_END="e2e and not slow"
if [[ "${1:-}" == --all ]]; then
  END_TO_END="e2e"
elif [[ $# -gt 0 ]]; then
  exec python -m pytest "${WITHOUT_BROWSER[@]}" "$@"
fi
say "Running the fast tests, on every core"
OMP_NUM_THREADS=1 python -m pytest "${WITHOUT_BROWSER[@]}" -m "not e2e" -n auto
say "Running the end-to-end tests, one after the other"
exec python -m pytest -m "$END_TO_END" --durations=30
