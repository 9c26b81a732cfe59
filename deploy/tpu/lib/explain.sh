# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables; `set -u` finds a wrong name
# Google's errors in one line that says what to do.

console=https://console.cloud.google.com

# Ends with the line that fits what a command said (the file $1), else with the command's own last words. The first
# pattern that matches is taken.
explain() {
    local said=$1 words
    means 'have an active account|not logged in|invalid_grant|Reauthentication|credentials.*expired' \
        "not logged in to Google Cloud: run \`gcloud auth login\`"
    means 'SERVICE_DISABLED|has not been used in project|API .*not enabled|it is disabled' \
        "an API of project $project is not enabled: run \`tpu.sh setup\`"
    means '[Bb]illing.*(disabled|not enabled|must be enabled|not found|required)|BILLING_DISABLED' \
        "project $project has no billing account: link one at $console/billing/linkedaccount?project=$project"
    means 'no more capacity|Insufficient capacity|STOCKOUT|ZONE_RESOURCE_POOL_EXHAUSTED' \
        "no free $tpu_type in $zone now: wait with YAOP_TPU_QUEUE=yes, or take another zone or type"
    means '[Qq]uota' \
        "no quota for $tpu_type in $zone (spot: $spot): ask for some at $(quota_page), or take another zone or type"
    means '[Aa]ccelerator ?[Tt]ypes?.*(not found|unsupported|invalid|not available|permission)' \
        "zone $zone has no $tpu_type: see https://cloud.google.com/tpu/docs/regions-zones"
    means '([Rr]untime|[Ss]oftware) ?[Vv]ersions?.*(not found|invalid|unsupported)' "no image $runtime in $zone: see\
 \`gcloud compute tpus tpu-vm versions list --zone=$zone\`, and set YAOP_TPU_RUNTIME"
    means 'HTTPError 409|bucket name is not available|already own|BucketNameUnavailable' \
        "the bucket name $bucket is taken: choose another YAOP_TPU_BUCKET"
    means 'PERMISSION_DENIED|HTTPError 403|does not have .*(access|permission)|[Pp]ermission .*denied' \
        "your account may not do this in project $project: it needs the roles that deploy/tpu/README.md lists"
    means 'Could not resolve|Connection (timed out|refused)|Network is unreachable|No route to host' \
        "no connection to the VM or to Google: is the VM there (\`tpu.sh status\`), and port 22 open in the network?"
    words=$(grep -E '^ERROR' "$said" | tail -n 1 || true)
    fail "${words:-$(tail -n 1 "$said")}"
}

means() {
    ! grep -qE -- "$1" "$said" || fail "$2"
}

quota_page() {
    echo "$console/iam-admin/quotas?service=tpu.googleapis.com&project=$project"
}
