#!/usr/bin/env bash
# Runs in the first stage of an image: puts the packages of a lock into /opt/yaop and leaves out what only takes room.
set -euo pipefail

if [[ $# -ne 1 || ! -f $1 ]]; then
    echo 'usage: install-packages.sh LOCK' >&2
    exit 2
fi

# Without pip and setuptools of its own: nothing is installed into a finished image.
python -m venv --without-pip /opt/yaop
# Wheels only, each with its hash: nothing is compiled, and the same lock gives the same files.
python -m pip --python /opt/yaop install --no-cache-dir --disable-pip-version-check --progress-bar off -qq \
    --no-compile --only-binary :all: --require-hashes --requirement "$1"

packages=$(/opt/yaop/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# The packages' own tests (50 MB of NumPy and SciPy). Named one by one: elsewhere `tests` may be part of the program.
for package in matplotlib mpl_toolkits networkx numpy pycocotools scipy skimage; do
    if [[ -d $packages/$package ]]; then
        find "$packages/$package" -type d -name tests -prune -exec rm -rf {} +
    fi
done
# For compiling against the packages. (Stubs, *.pyi, stay: scikit-image reads its own when it is imported.)
find "$packages" -type f \( -name '*.a' -o -name '*.pxd' \) -delete
rm -rf "$packages/tensorflow/include"
# LiteRT's accelerator for WebGPU (19 MB) is loaded where it is asked for, and YAOP does not ask.
rm -f "$packages/ai_edge_litert/libLiteRtWebGpuAccelerator.so"
