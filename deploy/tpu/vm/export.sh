#!/usr/bin/env bash
# Runs on the TPU VM: the bundle of a run in the bucket, its accuracy where the pictures are there, and both into the
# bucket.   export.sh gs://BUCKET/runs/RUN DATA
# shellcheck source-path=SCRIPTDIR
set -euo pipefail

# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
(($# == 2)) || { echo 'export.sh: needs RUN and DATA' >&2 && exit 2; }
run=$1 data=$2
bundle=$home/bundles/$(basename "$run")
annotations=$data/coco/annotations/person_keypoints_val2017.json images=$data/coco/val2017
[[ -e $annotations ]] || { annotations=$data/smoke/val.json images=$data/smoke/images; }

mkdir -p "$home/bundles"
yaop train export "$run" "$bundle" --replace
if [[ -e $annotations && -d $images ]]; then
    yaop train evaluate "$bundle" --annotations "$annotations" --images "$images" --record "$(basename "$annotations")"
else
    echo "no pictures to measure it on in $data"
fi
python "$(dirname "${BASH_SOURCE[0]}")/put_folder.py" "$bundle" "$run/bundle"
