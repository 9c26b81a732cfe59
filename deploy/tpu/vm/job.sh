#!/usr/bin/env bash
# Runs on the TPU VM: jobs that go on when the connection breaks.
#   job.sh start NAME COMMAND...   start it, unless a job of this name is running
#   job.sh follow NAME             show what it says until it ends; exit code 0, 10 if it failed, 11 if it was killed
#   job.sh status                  one line for each job
# shellcheck source-path=SCRIPTDIR
set -euo pipefail

# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
jobs_folder=$home/jobs

fail() {
    echo "job.sh: $1" >&2
    exit "${2:-2}"
}

# A job holds its lock as long as it or a child of it lives, whatever becomes of its number.
is_running() {
    [[ -e $jobs_folder/$1/lock ]] && ! flock --nonblock --shared "$jobs_folder/$1/lock" true
}

start() {
    local name=$1 folder=$jobs_folder/$1
    shift
    if is_running "$name"; then
        echo "$name is running already"
        return
    fi
    mkdir -p "$folder"
    rm -f "$folder/code" "$folder/begun"
    [[ ! -s $folder/log ]] || mv "$folder/log" "$folder/log.before"
    : >"$folder/log"
    # A session of its own: the end of the ssh connection does not reach it.
    setsid nohup bash "$self" work "$name" "$@" >>"$folder/log" 2>&1 </dev/null &
    wait_until_begun "$name"
    echo "$name started"
}

wait_until_begun() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        [[ ! -e $jobs_folder/$1/begun ]] || return 0
        sleep 0.05
    done
    fail "$1 did not start: see $jobs_folder/$1/log" 1
}

# In the background: the job itself, and then its exit code.
work() {
    local folder=$jobs_folder/$1 code=0
    shift
    exec 9>"$folder/lock"
    flock --timeout 5 9 || exit 1 # somebody may just be looking
    touch "$folder/begun"
    cd "$home/.."
    if [[ $1 == --tpu ]]; then
        use_tpu "$2"
        shift 2
    fi
    "$@" || code=$?
    echo "$code" >"$folder/code.new"
    mv "$folder/code.new" "$folder/code"
}

follow() {
    local folder=$jobs_folder/$1
    [[ -e $folder/log ]] || fail "there was no job $1 on this VM" 1
    # Gets the lock, and so ends, when the job ends; tail then shows what is left and ends as well.
    flock --shared "$folder/lock" true &
    tail --lines=200 --follow=name --sleep-interval=0.3 --pid=$! "$folder/log"
    if [[ ! -e $folder/code || $(<"$folder/code") -gt 128 ]]; then
        fail "$1 was killed" 11
    fi
    [[ $(<"$folder/code") == 0 ]] || exit 10
}

status() {
    local folder name
    for folder in "$jobs_folder"/*/; do
        [[ -d $folder ]] || continue
        name=$(basename "$folder")
        if is_running "$name"; then
            echo "$name: running; $(tail --lines=1 "$folder/log")"
        elif [[ -e $folder/code && $(<"$folder/code") == 0 ]]; then
            echo "$name: done"
        else
            echo "$name: failed; $(tail --lines=1 "$folder/log")"
        fi
    done
}

self=$(realpath "${BASH_SOURCE[0]}")
case ${1:-} in
    start) (($# > 2)) || fail 'start needs NAME and COMMAND' ;;
    follow) (($# == 2)) || fail 'follow needs NAME' ;;
    status | work) ;;
    *) fail 'start NAME COMMAND..., follow NAME or status' ;;
esac
[[ $1 == status || ${2:-} =~ ^[a-z]+$ ]] || fail "a job's name is of small letters"
"$@"
