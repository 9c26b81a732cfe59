#!/usr/bin/env bash
# Tell TensorFlow who else trains, wait until they can be found, then run the command given.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: start-worker.sh COMMAND [ARGUMENT...]

Runs COMMAND in one pod of an Indexed Job, with TF_CONFIG set for it.

  JOB_COMPLETION_INDEX  number of this worker, from 0; Kubernetes sets it
  WORKERS               number of workers
  WORKER_ADDRESS        HOST:PORT of a worker; %d stands for its number
  WORKER_WAIT           seconds to wait for the names of the others (default 600)

Exit codes: 2 if it was called in a wrong way, 1 if a name was not found in time, else COMMAND's.
TEXT
}

fail() { # MESSAGE [EXIT_CODE]
    echo "start-worker.sh: $1" >&2
    exit "${2:-2}"
}

check() {
    [[ ${JOB_COMPLETION_INDEX:-} =~ ^[0-9]+$ ]] || fail "JOB_COMPLETION_INDEX: the number of this worker is missing"
    [[ ${WORKERS:-} =~ ^[1-9][0-9]*$ ]] || fail "WORKERS: the number of workers is missing"
    ((JOB_COMPLETION_INDEX < WORKERS)) || fail "worker $JOB_COMPLETION_INDEX of $WORKERS: they count from 0"
    [[ ${WORKER_ADDRESS:-} =~ ^[^[:space:]\"\\%]*%d[^[:space:]\"\\%]*$ ]] \
        || fail "WORKER_ADDRESS: must be like yaop-fit-%d.yaop-fit:2222"
    [[ ${WORKER_WAIT:=600} =~ ^[0-9]+$ ]] || fail "WORKER_WAIT=$WORKER_WAIT: must be a number of seconds"
}

# A pod's name can be looked up only once it runs, which may take until a node was added.
wait_for() {
    local host=${1%:*}
    until getent hosts "$host" >/dev/null; do
        ((SECONDS < WORKER_WAIT)) || fail "$host: nobody knows this name after $WORKER_WAIT s; does its pod run?" 1
        sleep 1
    done
}

case ${1:-} in
    -h | --help) usage && exit ;;
    '') fail "what is to be run? See --help" ;;
esac
check

workers=()
for ((number = 0; number < WORKERS; number++)); do
    workers+=("${WORKER_ADDRESS/\%d/$number}")
done
for address in "${workers[@]}"; do
    wait_for "$address"
done

list=$(printf ', "%s"' "${workers[@]}")
task='{"type": "worker", "index": '"$JOB_COMPLETION_INDEX"'}'
export TF_CONFIG='{"cluster": {"worker": ['"${list:2}"']}, "task": '"$task"'}'
echo "worker $JOB_COMPLETION_INDEX of $WORKERS: ${workers[*]}"
exec "$@"
