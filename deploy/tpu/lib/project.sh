# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables; `set -u` finds a wrong name
# Account, project, service account and bucket: what there has to be before a TPU.

apis=(tpu compute storage iam cloudbilling)
apis=("${apis[@]/%/.googleapis.com}")

# Without arguments: all that can be found out before anything is paid for.
step_check() {
    local wanted enabled
    say "programs, account, project $project, billing, APIs, and whether $zone has $tpu_type"
    need_program gcloud "see https://cloud.google.com/sdk/docs/install, or use https://shell.cloud.google.com"
    need_program git 'install it, and work in a clone of the repository'
    look gcloud auth list --filter=status:ACTIVE '--format=value(account)' || true
    [[ $dry_run == yes || -n $found ]] || fail "not logged in to Google Cloud: run \`gcloud auth login\`"
    found_or_dry gcloud projects describe "$project" '--format=value(lifecycleState)' \
        || fail "no project $project that $(active_account) can see: make it with \`gcloud projects create $project\`"
    found_or_dry gcloud billing projects describe "$project" '--format=value(billingEnabled)' || found=
    [[ $dry_run == yes || $found == True ]] || fail "project $project has no billing account: link one at\
 $console/billing/linkedaccount?project=$project"
    found_or_dry gcloud services list --enabled "--project=$project" '--format=value(config.name)'
    enabled=$found
    for wanted in "${apis[@]}"; do
        if [[ $dry_run == no && $'\n'$enabled$'\n' != *$'\n'$wanted$'\n'* ]]; then
            say "$wanted is not enabled yet: \`tpu.sh setup\` does it; whether $zone has $tpu_type is seen after that"
            return
        fi
    done
    check_zone
    say "all there; whether there is quota shows when a TPU is asked for: $(quota_page)"
}

found_or_dry() {
    look "$@" || [[ $dry_run == yes ]]
}

active_account() {
    gcloud auth list --filter=status:ACTIVE '--format=value(account)' 2>/dev/null || echo 'your account'
}

check_zone() {
    found_or_dry gcloud compute tpus tpu-vm accelerator-types list "--zone=$zone" "--project=$project" \
        '--format=value(type)' || found=
    [[ $dry_run == yes || $'\n'$found$'\n' == *$'\n'$tpu_type$'\n'* ]] \
        || fail "zone $zone has no $tpu_type: see https://cloud.google.com/tpu/docs/regions-zones"
}

# APIs, and the service account that the VM runs as. It has no rights but those on the bucket.
step_setup() {
    local missing=() wanted
    say "APIs and the VM's service account"
    look gcloud services list --enabled "--project=$project" '--format=value(config.name)' || true
    for wanted in "${apis[@]}"; do
        [[ $'\n'$found$'\n' == *$'\n'$wanted$'\n'* ]] || missing+=("$wanted")
    done
    if ((${#missing[@]})); then
        run gcloud services enable "${missing[@]}" "--project=$project"
    fi
    if ! look gcloud iam service-accounts describe "$account" "--project=$project" '--format=value(email)'; then
        run gcloud iam service-accounts create "$service_account" "--project=$project" \
            '--display-name=YAOP training on a TPU VM'
    fi
}

# The bucket, beside the TPU, private, and without the seven days for which Google keeps (and bills) deleted objects:
# old checkpoints are deleted all the time.
step_bucket() {
    local role granted
    say "bucket gs://$bucket in $region for records and runs"
    if ! look gcloud storage buckets describe "gs://$bucket" '--format=value(location)'; then
        confirm "Make the bucket gs://$bucket in $region? What it holds is billed until it is deleted."
        run gcloud storage buckets create "gs://$bucket" "--project=$project" "--location=$region" \
            --default-storage-class=STANDARD --uniform-bucket-level-access --public-access-prevention \
            --soft-delete-duration=0
    elif [[ $(tr '[:upper:]' '[:lower:]' <<<"$found") != "$region" ]]; then
        say "warning: gs://$bucket is in $found and the TPU in $region: reading is slower, and traffic may be billed"
    fi
    # Objects, and the question whether the bucket exists, which TensorFlow asks.
    look gcloud storage buckets get-iam-policy "gs://$bucket" '--flatten=bindings[].members' \
        '--format=value(bindings.role,bindings.members)' || true
    granted=$found
    for role in roles/storage.objectUser roles/storage.legacyBucketReader; do
        [[ $'\n'$granted$'\n' == *$'\n'$role$'\t'serviceAccount:$account$'\n'* ]] \
            || run gcloud storage buckets add-iam-policy-binding "gs://$bucket" \
                "--member=serviceAccount:$account" "--role=$role"
    done
}
