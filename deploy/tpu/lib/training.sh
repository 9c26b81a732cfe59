# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables; `set -u` finds a wrong name
# What happens on the VM: our source and its packages, data, records, training, export; and bringing the run home.
# Everything that takes long is a job there (vm/job.sh), which goes on when the connection breaks.

on_vm() {
    place
    job_script=yaop/source/deploy/tpu/vm/job.sh
    ssh=(gcloud compute tpus tpu-vm ssh "$name" "${here[@]}" --worker=0)
    scp=(gcloud compute tpus tpu-vm scp "${here[@]}" --worker=0)
}

# The source as it is committed, a Python for it, and the packages of requirements/train-tpu.lock.
step_install() {
    local archive=$scratch/source.tar.gz changed
    say "source and packages on $name"
    require_vm
    [[ $dry_run == no ]] || archive=/tmp/yaop-source.tar.gz
    if changed=$(git -C "$checkout" status --porcelain 2>/dev/null) && [[ -n $changed ]]; then
        say "warning: what is not committed stays here ($(wc -l <<<"$changed" | tr -d ' ') files)"
    fi
    run git -C "$checkout" archive --format=tar.gz "--output=$archive" HEAD -- LICENSE NOTICE README.md \
        pyproject.toml requirements shared service trainer models deploy
    run "${scp[@]}" "$archive" "$name:yaop-source.tar.gz"
    send_file "$movenet" "yaop/$(basename "${movenet:-none}")"
    [[ $recipe != *.py ]] || send_file "$recipe" "$remote_recipe"
    watched "${ssh[@]}" "--command=mkdir -p yaop/source && tar -xzf yaop-source.tar.gz -C yaop/source &&\
 bash yaop/source/deploy/tpu/vm/install.sh" || fail "the installation on $name has failed: see above; try it again"
}

send_file() {
    [[ -n $1 ]] || return 0
    run "${ssh[@]}" "--command=mkdir -p $(dirname "$2")"
    run "${scp[@]}" "$1" "$name:$2"
}

step_data() {
    if [[ $data == none ]]; then
        say "recipe $recipe needs no download"
        return
    fi
    say "COCO 2017 to the VM's disk: 20 GB; what is there already is not fetched again"
    job data yaop train download --data yaop/data
}

step_records() {
    say "records to $records; shards that are there already are not written again"
    job records yaop train records --recipe "$remote_recipe" ${changed_fields[@]+"${changed_fields[@]}"} \
        --data yaop/data --records "$records"
}

step_train() {
    local command=(yaop train fit --distribution tpu --recipe "$remote_recipe"
        ${changed_fields[@]+"${changed_fields[@]}"} --data yaop/data --records "$records"
        --runs "$runs" --run "$run_name")
    say "training of $run_name; one that was cut off goes on from its last checkpoint in $runs/$run_name"
    [[ -z $initial ]] || command+=(--initial "$initial")
    [[ -z $movenet ]] || command+=(--movenet "yaop/$(basename "$movenet")")
    job train --tpu "$api" "${command[@]}"
}

# On the VM's processor: it has COCO for the accuracy, and the bundle goes to the run's folder in the bucket.
step_export() {
    say "the bundle of $run_name, its accuracy, and both into $runs/$run_name/bundle"
    job export bash yaop/source/deploy/tpu/vm/export.sh "$runs/$run_name" yaop/data
}

# Start a job on the VM, or find it running; show what it says until it ends.
job() {
    require_vm
    watched "${ssh[@]}" "--command=$(quoted_line bash "$job_script" start "$@")" || lost "$1"
    follow "$1"
}

# gcloud itself tries ten times where ssh cannot connect, and then gives an exit code of its own.
follow() {
    local code=0
    watched "${ssh[@]}" "--command=$(quoted_line bash "$job_script" follow "$1")" || code=$?
    case $code in
        0) return ;;
        # Killed: perhaps because the VM is about to be taken away, which shows a little later.
        11) sleep "$poll_seconds" ;;
    esac
    look_at_vm
    if [[ $code == 10 || $code == 11 ]] && [[ $vm_state == READY ]]; then
        fail "job $1 has failed on $name: its last words are above; \`tpu.sh $1\` tries again"
    fi
    lost "$1"
}

lost() {
    look_at_vm
    [[ $vm_state == READY ]] || fail "VM $name is ${vm_state:-gone}: \`tpu.sh all\` makes a new one, and training goes\
 on from its last checkpoint"
    fail "the connection to $name broke; what was started there goes on: \`tpu.sh logs $1\`"
}

step_logs() {
    require_vm
    follow "$1"
}

# From the bucket, so the VM need not be there; looked for again each minute.
step_tensorboard() {
    local home=$runs_at_home/$run_name/tensorboard program=$checkout/.venv/bin/tensorboard
    local copy=(gcloud storage rsync --recursive "$runs/$run_name/tensorboard" "$home")
    say "TensorBoard of $run_name on http://127.0.0.1:6006, until Ctrl+C"
    [[ -x $program ]] || program=tensorboard
    need_program "$program" "\`make environment\` in the checkout installs it"
    run mkdir -p "$home"
    run "${copy[@]}"
    if [[ $dry_run == no ]]; then
        (while sleep 60; do "${copy[@]}" >/dev/null 2>&1 || true; done) &
        trap 'kill '"$!"' 2>/dev/null; rm -rf "$scratch"' EXIT
    fi
    watched "$program" --logdir "$home" --host 127.0.0.1 --port 6006 || true
}

# The run without its checkpoints, and then what is to be done with it.
step_fetch() {
    local home=$runs_at_home/$run_name yaop=$checkout/.venv/bin/yaop
    say "run $run_name home to $home"
    run mkdir -p "$home"
    run gcloud storage rsync --recursive '--exclude=^checkpoints/.*' "$runs/$run_name" "$home"
    if [[ $dry_run == no && ! -f $home/bundle/manifest.json ]]; then
        say "it has no bundle yet: \`tpu.sh export\` makes it on the VM, or here:"
        say "$(quoted_line "$yaop" train export "$home")"
        return
    fi
    if [[ -n $models_dir ]]; then
        run "$yaop" models promote "$home" --models-dir "$models_dir"
    else
        say "give it to your service: $(quoted_line "$yaop" models promote "$home" --models-dir MODELS)"
    fi
}
