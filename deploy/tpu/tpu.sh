#!/usr/bin/env bash
# Train on a Cloud TPU: from a Google account to a bundle at home. See README.md beside this file.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail

here_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here_folder/../.." && pwd)
# shellcheck source=lib/common.sh
source "$here_folder/lib/common.sh"
# shellcheck source=lib/explain.sh
source "$here_folder/lib/explain.sh"
# shellcheck source=lib/settings.sh
source "$here_folder/lib/settings.sh"
# shellcheck source=lib/project.sh
source "$here_folder/lib/project.sh"
# shellcheck source=lib/machine.sh
source "$here_folder/lib/machine.sh"
# shellcheck source=lib/training.sh
source "$here_folder/lib/training.sh"
# Questions are asked by this script, with what they mean.
export CLOUDSDK_CORE_DISABLE_PROMPTS=1

steps='check setup bucket create install data records train export fetch all status logs tensorboard delete'

usage() {
    cat <<'TEXT'
usage: tpu.sh [--settings FILE] [--dry-run] [--yes] STEP

Steps, each of which looks at what is there and can be repeated:
  check        programs, login, project, billing, APIs, and whether the zone has such a TPU; changes nothing
  setup        enable the APIs, make the service account of the VM
  bucket       make the bucket for records and runs, and let the service account use it
  create       make the TPU VM, or wait for it; from here on it costs
  install      our source, Python 3.11 and the packages on the VM
  data         download COCO to the VM's disk
  records      write the records to the bucket
  train        train, or go on with a run that was cut off
  export       write the bundle on the VM, measure it, copy it to the bucket
  fetch        bring the run home, and promote its bundle if YAOP_TPU_MODELS_DIR says where to
  all          all of these in order; makes a new VM where a spot VM was taken away; deletes it at the end
  status       what is there, and what runs
  logs [JOB]   what data, records, train or export says; train if no JOB is named
  tensorboard  the run's curves, on http://127.0.0.1:6006
  delete       delete the VM; with --everything also the bucket and the service account

  --settings FILE  default: deploy/tpu/settings.env (see settings.example.env)
  --dry-run        print every command and call none; needs no gcloud
  --yes            don't ask before what costs money or deletes
TEXT
}

parse() {
    settings=$here_folder/settings.env step='' job=train everything=no settings_given=no
    while (($#)); do
        case $1 in
            -h | --help) usage && exit ;;
            --dry-run) dry_run=yes ;;
            --yes) assume_yes=yes ;;
            --everything) everything=yes ;;
            --settings)
                (($# > 1)) || fail '--settings needs a FILE' 2
                settings=$2 settings_given=yes
                shift ;;
            -*) fail "unknown option $1; see --help" 2 ;;
            *) take_word "$1" ;;
        esac
        shift
    done
    [[ -n $step ]] || fail 'which step? See --help' 2
    [[ $everything == no || $step == delete ]] || fail '--everything goes with delete' 2
}

take_word() {
    if [[ -z $step ]]; then
        [[ " $steps " == *" $1 "* && $1 != *' '* ]] || fail "unknown step $(quoted "$1"); see --help" 2
        step=$1
    elif [[ $step == logs && $1 =~ ^(data|records|train|export)$ ]]; then
        job=$1
    else
        fail "what is $(quoted "$1")? See --help" 2
    fi
}

load_settings() {
    if [[ -f $settings ]]; then
        read_settings "$settings"
    elif [[ $settings_given == yes || -z ${YAOP_TPU_PROJECT:-} ]]; then
        fail "there are no settings $settings: copy deploy/tpu/settings.example.env to it and fill it in" 2
    fi
    take_settings
    check_settings
    changed_fields=()
    local word
    for word in ${overrides[@]+"${overrides[@]}"}; do
        changed_fields+=(--set "$word")
    done
}

# What is to be done while there is a VM.
on_one_vm() {
    local part
    for part in install data records train export; do
        "step_$part"
    done
}

step_all() {
    local part code tries=0
    for part in check setup bucket create; do
        "step_$part"
    done
    while true; do
        # In a shell of its own, which may end with an error. Not after `||`, which would turn -e off in it.
        set +e
        (set -e; trap - EXIT; on_one_vm)
        code=$?
        set -e
        ((code != 0)) || break
        look_at_vm
        if [[ $vm_state == READY ]]; then
            say "the VM is still there and costs: \`tpu.sh all\` goes on, \`tpu.sh delete\` ends it"
        fi
        [[ $vm_state != READY ]] && ((tries < retries)) || exit "$code"
        tries=$((tries + 1))
        say "the VM was taken away (${vm_state:-gone}); a new one now, $tries of at most $retries"
        # The first yes was about this as well.
        (assume_yes=yes; trap - EXIT; step_create)
    done
    step_fetch
    # The first yes was about this as well: nobody may be there to answer, and a VM that waits for an answer costs.
    (assume_yes=yes; trap - EXIT; step_delete)
}

parse "$@"
load_settings
[[ $dry_run == yes || $step == check || $step == all ]] \
    || need_program gcloud 'see https://cloud.google.com/sdk/docs/install, or use https://shell.cloud.google.com'
make_scratch
on_vm
if [[ $dry_run == yes ]]; then
    say 'dry run: nothing is called. What is to be made is made only if the look before it finds none.'
fi
if [[ $step == logs ]]; then
    step_logs "$job"
else
    "step_$step"
fi
