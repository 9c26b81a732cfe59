# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables; `set -u` finds a wrong name
# The TPU VM: making it, asking how it is, and getting rid of it.

place() {
    here=("--zone=$zone" "--project=$project")
}

# State of the VM in `vm_state`, and of its request in the queue in `queue_state`; nothing where there is none.
look_at_vm() {
    place
    vm_state='' queue_state=''
    look gcloud compute tpus tpu-vm describe "$name" "${here[@]}" '--format=value(state)' && vm_state=$found
    look_at_queue
}

look_at_queue() {
    queue_state=
    look gcloud compute tpus queued-resources describe "$name" "${here[@]}" '--format=value(state.state)' \
        && queue_state=$found
    return 0
}

step_create() {
    say "TPU VM $name: $tpu_type in $zone, spot: $spot"
    look_at_vm
    case $vm_state in
        READY) say "$name is there already" && return ;;
        CREATING | STARTING | RESTARTING | REPAIRING | REIMAGING) wait_for_vm && return ;;
        STOPPED)
            if [[ $spot == no ]]; then
                confirm "Start $name again? A TPU costs by the second until it is deleted: $(price_page)"
                run gcloud compute tpus tpu-vm start "$name" "${here[@]}"
                return
            fi ;;
    esac
    if [[ $queue_state != WAITING_FOR_RESOURCES && $queue_state != ACCEPTED && $queue_state != PROVISIONING ]]; then
        confirm "Make $name, a $tpu_type (spot: $spot)${vm_state:+, in place of the one that is $vm_state}?\
 It costs by the second until it is deleted: $(price_page)"
        # What was taken away or failed stays listed, and in the way, until it is deleted.
        forget_vm
    fi
    ask_for_vm
}

price_page() {
    echo https://cloud.google.com/tpu/pricing
}

forget_vm() {
    [[ -z $queue_state ]] || run gcloud compute tpus queued-resources delete "$name" "${here[@]}" --force --quiet
    # A VM of the queue is gone with its request.
    [[ -z $vm_state || -n $queue_state ]] || run gcloud compute tpus tpu-vm delete "$name" "${here[@]}" --quiet
    vm_state='' queue_state=''
}

ask_for_vm() {
    local options=("--accelerator-type=$tpu_type" "--service-account=$account"
        --scopes=https://www.googleapis.com/auth/cloud-platform)
    [[ $spot == no ]] || options+=(--spot)
    if [[ $queue == no ]]; then
        run gcloud compute tpus tpu-vm create "$name" "${here[@]}" "--version=$runtime" "${options[@]}"
        return
    fi
    [[ -n $queue_state ]] || run gcloud compute tpus queued-resources create "$name" "${here[@]}" "--node-id=$name" \
        "--runtime-version=$runtime" "${options[@]}"
    wait_for_vm
}

# Until the VM is ready, the request has failed, or the time is over.
wait_for_vm() {
    local end=$((SECONDS + wait_minutes * 60))
    if [[ $dry_run == yes ]]; then
        say "looks every $poll_seconds s, for $wait_minutes minutes at most, until the state is READY:"
    fi
    while true; do
        look_at_vm
        [[ $vm_state != READY && $dry_run == no ]] || return 0
        case $queue_state in
            FAILED | SUSPENDED) fail "the request for $tpu_type in $zone is $queue_state (\`gcloud compute tpus\
 queued-resources describe $name --zone=$zone --project=$project\` says why); \`tpu.sh create\` asks again" ;;
        esac
        ((SECONDS < end)) || fail "still no $tpu_type after $wait_minutes minutes (${queue_state:-$vm_state}): the\
 request stays in the queue, and costs once it is met; \`tpu.sh create\` waits on, \`tpu.sh delete\` withdraws it"
        say "$(date +%H:%M:%S) ${queue_state:-$vm_state}"
        sleep "$poll_seconds"
    done
}

require_vm() {
    [[ $dry_run == no ]] || { place && return; }
    look_at_vm
    [[ $vm_state == READY ]] && return
    [[ -n $vm_state ]] || fail "there is no VM $name in $zone: \`tpu.sh create\` makes one"
    fail "VM $name is $vm_state: \`tpu.sh create\` makes a new one, and training goes on from its last checkpoint"
}

step_delete() {
    say "TPU VM $name, and its request in the queue"
    look_at_vm
    if [[ $dry_run == yes ]]; then
        queue_state=any
    elif [[ -z $vm_state$queue_state ]]; then
        say "there is no VM $name in $zone, and no request for one"
    fi
    if [[ -n $vm_state$queue_state ]]; then
        confirm "Delete the VM $name with its disk? Records and runs stay in gs://$bucket."
        forget_vm
    fi
    if [[ $everything == yes ]]; then
        delete_bucket
        delete_account
    else
        say "gs://$bucket stays, and is billed for what it holds: \`tpu.sh delete --everything\` deletes it too"
    fi
}

delete_bucket() {
    look gcloud storage buckets describe "gs://$bucket" '--format=value(location)' || [[ $dry_run == yes ]] || return 0
    confirm "Delete gs://$bucket with all records and runs? They cannot be brought back."
    run gcloud storage rm --recursive "gs://$bucket"
}

delete_account() {
    look gcloud iam service-accounts describe "$account" "--project=$project" '--format=value(email)' \
        || [[ $dry_run == yes ]] || return 0
    confirm "Delete the service account $account?"
    run gcloud iam service-accounts delete "$account" "--project=$project" --quiet
}

step_status() {
    say "what is there, and so what costs"
    look_at_vm
    [[ $dry_run == yes ]] || say "VM $name: ${vm_state:-none}; request in the queue: ${queue_state:-none}"
    if look gcloud storage ls "$runs/$run_name/"; then
        say "run $run_name in the bucket:"
        printf '%s\n' "$found"
    elif [[ $dry_run == no ]]; then
        say "run $run_name: nothing in $runs"
    fi
    if [[ $vm_state == READY || $dry_run == yes ]]; then
        watched "${ssh[@]}" "--command=$(quoted_line bash "$job_script" status)" \
            || say "the VM cannot be reached by ssh, or nothing is installed on it yet"
    fi
}
