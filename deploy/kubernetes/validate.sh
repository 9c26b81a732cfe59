#!/usr/bin/env bash
# Build everything that can be applied, and have it checked, by a cluster if one is asked for.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: validate.sh [--server] [FOLDER...]

Builds each FOLDER (default: all that can be applied) with `kubectl kustomize` and says how many objects are in it.

  --server   have the cluster of the current context check them, too: kubectl apply --dry-run=server, nothing is changed
TEXT
}

fail() {
    echo "validate.sh: $1" >&2
    exit 2
}

server=false
folders=()
for word in "$@"; do
    case $word in
        -h | --help) usage && exit ;;
        --server) server=true ;;
        -*) fail "$word: unknown option, see --help" ;;
        *)
            [[ -f $word/kustomization.yaml ]] || fail "$word: no kustomization.yaml in there"
            folders+=("$word")
            ;;
    esac
done
command -v kubectl >/dev/null || fail "kubectl is not installed"
if ((${#folders[@]} == 0)); then
    cd "$(dirname "${BASH_SOURCE[0]}")"
    mapfile -t folders < <(grep -rl --include=kustomization.yaml '^kind: Kustomization$' . | xargs -n1 dirname | sort)
fi

for folder in "${folders[@]}"; do
    objects=$(kubectl kustomize "$folder")
    echo "$folder: $(grep -c '^kind:' <<<"$objects") objects"
    if $server; then
        kubectl apply --dry-run=server -f - <<<"$objects"
    fi
done
