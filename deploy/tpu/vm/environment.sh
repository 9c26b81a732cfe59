# shellcheck shell=bash
# What every program of ours on the VM sees; sourced by the other scripts here.

home=${YAOP_TPU_HOME:-$HOME/yaop}
environment=$home/environment
export PATH=$environment/bin:$PATH
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
export MPLCONFIGDIR=$home/cache/matplotlib XDG_CACHE_HOME=$home/cache
export PYTHONUNBUFFERED=1
# A TPU is for one process at a time: only the training opens it. Without this line, whatever imports TensorFlow would.
export TPU_LOAD_LIBRARY=0

# Let this process have the TPU. `pjrt` is how TensorFlow talks to v5 and v6, `stream` how it talks to older ones.
use_tpu() {
    unset TPU_LOAD_LIBRARY
    export TPU_NAME=local
    if [[ $1 == pjrt ]]; then
        export NEXT_PLUGGABLE_DEVICE_USE_C_API=true
        TF_PLUGGABLE_DEVICE_LIBRARY_PATH=$(python -c 'import libtpu; print(libtpu.get_library_path())')
        export TF_PLUGGABLE_DEVICE_LIBRARY_PATH
    fi
}
