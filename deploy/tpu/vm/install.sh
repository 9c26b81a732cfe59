#!/usr/bin/env bash
# Runs on the TPU VM: a Python that YAOP supports, its packages as locked, and our source, which it lies in.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail

source_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
# shellcheck source=environment.sh
source "$source_folder/deploy/tpu/vm/environment.sh"
lock=$source_folder/requirements/train-tpu.lock

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

# A Python 3.11 or later of the system, with venv; 3.13 is the last that all packages know.
find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3.13 python3; do
        if "$candidate" - 2>/dev/null <<'PYTHON'; then
import ensurepip, sys, venv
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON
            command -v "$candidate"
            return
        fi
    done
}

# Ubuntu 22.04, which TPU VMs run, has Python 3.10. uv brings 3.11 into our own folder: no root, no foreign apt sources,
# no waiting for the unattended upgrades that hold apt's lock on a new VM.
fetch_python() {
    local tools=$home/tools
    python3 -m pip --version >/dev/null 2>&1 || sudo apt-get install --yes python3-pip >&2 \
        || fail 'the VM has no pip, and apt cannot install python3-pip'
    python3 -m pip install --quiet --disable-pip-version-check --upgrade --target "$tools" --require-hashes \
        --requirement "$source_folder/deploy/tpu/vm/uv.lock" >&2 || fail 'uv cannot be installed: is PyPI reachable?'
    "$tools/bin/uv" python install --quiet --install-dir "$home/pythons" 3.11 >&2 \
        || fail 'uv cannot fetch Python 3.11: is GitHub reachable? Any python3.11 on PATH does as well'
    UV_PYTHON_INSTALL_DIR=$home/pythons "$tools/bin/uv" python find --managed-python 3.11
}

make_environment() {
    local python
    if [[ -x $environment/bin/python ]] && "$environment/bin/python" -c '' 2>/dev/null; then
        return
    fi
    python=$(find_python)
    [[ -n $python ]] || python=$(fetch_python)
    echo "Python: $python"
    rm -rf "$environment"
    "$python" -m venv "$environment"
}

install_packages() {
    local pip=("$environment/bin/python" -m pip --disable-pip-version-check install --quiet --progress-bar off)
    echo 'packages: a few minutes the first time'
    "${pip[@]}" --require-hashes --requirement "$lock" || fail 'a package of train-tpu.lock cannot be installed'
    "${pip[@]}" --no-deps --no-build-isolation --editable "$source_folder" || fail 'our own source cannot be installed'
}

mkdir -p "$home/cache"
make_environment
install_packages
"$environment/bin/python" -c 'import tensorflow as tf; print("TensorFlow", tf.__version__)' \
    || fail 'TensorFlow cannot be imported'
echo "installed in $home"
