#!/usr/bin/env bash
# Build the container images where there is no Docker engine: root, buildah and (for the stand-in base) debootstrap.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
usage: deploy/build-without-docker.sh [OPTION]...

Builds yaop-serve and yaop-train from Dockerfile.serve and Dockerfile.train with buildah, without a daemon. Where no
registry can be reached, the base image is a stand-in: a minimal Debian bookworm with Python, made once by debootstrap.

  --serve-only       only yaop-serve
  --train-only       only yaop-train
  --variant NAME     of yaop-serve: litert (default), tensorflow, gpu
  --device NAME      of yaop-train: cpu (default), gpu, tpu
  --base IMAGE       the base image, as python:3.11.14-slim-bookworm; default: the stand-in
  --mirror URL       Debian mirror of the stand-in; default: the first one of this machine's apt
  --help             this text

The images are tagged with YAOP's version, and "-NAME" for other than the default variant or device. Settings and
certificates of this machine's pip and apt are mounted while building, and are not in the images. The stand-in is kept
in $XDG_CACHE_HOME/yaop-images or /var/tmp/yaop-images.
TEXT
}

refuse() {
    echo "build-without-docker.sh: $1" >&2
    exit 2
}

which=both variant=litert device=cpu base='' mirror=''
while [[ $# -gt 0 ]]; do
    case $1 in
        --help) usage; exit 0 ;;
        --serve-only) which=serve; shift ;;
        --train-only) which=train; shift ;;
        --variant | --device | --base | --mirror)
            [[ -n ${2:-} ]] || refuse "$1 needs a value; see --help"
            declare "${1#--}=$2"
            shift 2 ;;
        *) refuse "unknown argument $1; see --help" ;;
    esac
done
[[ $variant =~ ^(litert|tensorflow|gpu)$ ]] || refuse "--variant $variant: must be litert, tensorflow or gpu"
[[ $device =~ ^(cpu|gpu|tpu)$ ]] || refuse "--device $device: must be cpu, gpu or tpu"

python=${PYTHON:-python3}
cache=${XDG_CACHE_HOME:-/var/tmp}/yaop-images
stand_in=localhost/yaop-base:bookworm
version=$(sed -nE 's/^version = "(.*)"$/\1/p' pyproject.toml)

need() {
    command -v "$1" >/dev/null || refuse "$1 is missing; on Debian: apt-get install $1"
}

[[ $(id -u) == 0 ]] || refuse 'must run as root'
need buildah
"$python" -m pip --version >/dev/null 2>&1 || refuse "$python has no pip; on Debian: apt-get install python3-pip"
if ! buildah info >/dev/null 2>&1; then
    export STORAGE_DRIVER=vfs # slow, but works on any file system
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The first Debian mirror in this machine's apt sources; empty where there is none, which is debootstrap's own default.
apt_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null \
        | sed -nE 's/^(URIs:|deb( +\[[^]]*\])?) +([a-z]+:[^ ]+).*/\3/p' | head -n 1 || true
}

# Looks like the official image of Python as far as the Dockerfiles can tell.
make_stand_in() {
    local root=$work/rootfs container
    need debootstrap
    echo "Making the stand-in for the base image with debootstrap (about a minute) ..."
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
        bookworm "$root" ${mirror:+"$mirror"} >"$work/debootstrap.log" 2>&1 \
        || { tail -n 5 "$work/debootstrap.log" >&2; refuse 'debootstrap failed'; }
    ln -s python3 "$root/usr/bin/python"
    rm -rf "$root"/usr/lib/python3*/EXTERNALLY-MANAGED "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
    mkdir -p "$cache"
    tar -C "$root" -cf "$cache/base.tar.new" .
    mv "$cache/base.tar.new" "$cache/base.tar"
    rm -rf "$root"
}

if [[ -z $base ]]; then
    base=$stand_in
    if ! buildah inspect --type image "$stand_in" >/dev/null 2>&1; then
        mirror=${mirror:-$(apt_mirror)}
        [[ -f $cache/base.tar ]] || make_stand_in
        container=$(buildah from scratch)
        buildah add --quiet "$container" "$cache/base.tar" / >/dev/null
        buildah commit --quiet --rm "$container" "$stand_in" >/dev/null
    fi
fi

mapfile -t mounts < <("$python" -m deploy.images.build_host "$work")
revision=$(git rev-parse HEAD 2>/dev/null || true)
moment=$(git log -1 --format=%ct 2>/dev/null || date +%s)

# $1: serve or train, $2: the tag, the rest: build arguments.
build() {
    local name=$1 tag=$2
    shift 2
    echo "Building yaop-$name:$tag ..."
    # Docker's format, as the other one knows no HEALTHCHECK; the time of the commit, so that a rebuild gives the same.
    if ! buildah bud --layers --force-rm --format docker --isolation chroot --network host --timestamp "$moment" \
        "${mounts[@]/#/--volume=}" --build-arg "BASE=$base" --build-arg "VERSION=$version" \
        --build-arg "REVISION=$revision" --build-arg "CREATED=$(date -u -d "@$moment" +%FT%TZ)" "$@" \
        --file "Dockerfile.$name" --tag "yaop-$name:$tag" . >"$work/build.log" 2>&1; then
        tail -n 40 "$work/build.log" >&2
        echo "build-without-docker.sh: Dockerfile.$name could not be built; the lines above say why" >&2
        exit 1
    fi
}

suffix() {
    [[ $1 == "$2" ]] || echo "-$1"
}

if [[ $which != train ]]; then
    build serve "$version$(suffix "$variant" litert)" --build-arg "VARIANT=$variant"
fi
if [[ $which != serve ]]; then
    build train "$version$(suffix "$device" cpu)" --build-arg "DEVICE=$device"
fi
