# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables; `set -u` finds a wrong name
# Telling, asking, and running commands: all commands that change something go through `run`, all that look through
# `look`, so that a dry run prints them and calls nothing.

dry_run=no
assume_yes=no
scratch=

# Exit codes: 1 for what went wrong, 2 for what was asked wrongly.
fail() {
    echo "tpu.sh: $1" >&2
    exit "${2:-1}"
}

# What happens next. A comment, so that a dry run's output is a script.
say() {
    echo "# $1"
}

# One word as a shell reads it back.
quoted() {
    local word=$1 quote="'\\''"
    if [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]]; then
        printf '%s' "$word"
    else
        printf "'%s'" "${word//\'/$quote}"
    fi
}

# A command line as a shell reads it back.
quoted_line() {
    local line='' word
    for word in "$@"; do
        line+="${line:+ }$(quoted "$word")"
    done
    printf '%s' "$line"
}

# A folder of our own for what must not lie about.
make_scratch() {
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/yaop-tpu.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
}

# Run a command that changes something; print it first. Its errors become one line.
run() {
    quoted_line "$@"
    echo
    [[ $dry_run == yes ]] && return
    if "$@" 2>"$scratch/errors"; then
        cat "$scratch/errors" >&2
    else
        explain "$scratch/errors"
    fi
}

# Run a command that the user watches: its errors appear as they come. Gives back its exit code.
watched() {
    quoted_line "$@"
    echo
    [[ $dry_run == yes ]] && return
    "$@"
}

# What a command says, in `found`; false if it fails because there is no such thing, and in a dry run.
look() {
    found=
    if [[ $dry_run == yes ]]; then
        echo "$(quoted_line "$@")  # looks"
        return 1
    fi
    if found=$("$@" 2>"$scratch/errors"); then
        return 0
    fi
    grep -qiE 'NOT_FOUND|not found|HTTPError 404|matched no objects|may not exist' "$scratch/errors" \
        || explain "$scratch/errors"
    return 1
}

# Ask before what costs money or deletes.
confirm() {
    local answer
    [[ $dry_run == yes || $assume_yes == yes ]] && return
    [[ -t 0 ]] || fail "$1 Nobody is there to ask: say --yes" 2
    read -r -p "$1 [y/N] " answer || answer=
    [[ $answer == [yY] || $answer == [yY][eE][sS] ]] || fail "nothing done"
}

need_program() {
    [[ $dry_run == yes ]] && return
    command -v "$1" >/dev/null || fail "$1 is not installed: $2"
}
