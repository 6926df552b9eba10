#!/bin/sh
# Run command-line transcripts: transcript.sh [--renew] CASE.sh ...
#
# A case is a shell script. It runs in an empty folder of its own with $BALEEN, the program, and
# $DATA, tests/data; what it printed and its exit status must equal CASE.stdout, CASE.stderr and
# CASE.exit beside it (missing: nothing printed, status 0). The paths of the folder, of the data
# and of the program are written as SCRATCH, DATA and baleen. --renew writes the three files:
# read the difference before you commit it. Exit: 0 equal, 1 not, 77 (skipped) without a program.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
: "${BALEEN:=$here/../../build/baleen}"
: "${DATA:=$(cd "$here/.." && pwd)/data}"
renew=
if [ "${1-}" = --renew ]; then
    renew=yes
    shift
fi
if [ ! -x "$BALEEN" ]; then
    echo "skipped: there is no $BALEEN"
    exit 77
fi
BALEEN=$(cd "$(dirname "$BALEEN")" && pwd)/$(basename "$BALEEN")
export BALEEN DATA LC_ALL=C

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# A path as a pattern of sed.
quoted() {
    printf '%s' "$1" | sed 's/[][\.*^$|]/\\&/g'
}

# Paths of this machine, the longest first.
normalise() {
    sed -e "s|$(quoted "$scratch/work")|SCRATCH|g" -e "s|$(quoted "$DATA")|DATA|g" \
        -e "s|$(quoted "$BALEEN")|baleen|g"
}

# Compare, or with --renew write, one of the three files; an empty one is not kept.
settle() {
    if [ "$renew" ]; then
        if [ -s "$1" ]; then cp "$1" "$2"; else rm -f "$2"; fi
    else
        [ -f "$2" ] || : >"$scratch/nothing"
        expected=$2
        [ -f "$2" ] || expected=$scratch/nothing
        diff -u --label "$(basename "$2") (expected)" --label "$(basename "$2") (got)" \
            "$expected" "$1"
    fi
}

failed=0
for case in "$@"; do
    name=${case%.sh}
    script=$(cd "$(dirname "$case")" && pwd)/$(basename "$case")
    rm -rf "$scratch/work"
    mkdir "$scratch/work"
    status=0
    (cd "$scratch/work" && exec timeout 300 sh -u "$script") \
        >"$scratch/raw.stdout" 2>"$scratch/raw.stderr" </dev/null || status=$?
    normalise <"$scratch/raw.stdout" >"$scratch/stdout"
    normalise <"$scratch/raw.stderr" >"$scratch/stderr"
    : >"$scratch/exit"
    [ "$status" = 0 ] || echo "$status" >"$scratch/exit"
    equal=yes
    for what in stdout stderr exit; do
        settle "$scratch/$what" "$name.$what" || equal=no
    done
    if [ "$equal" = no ]; then
        echo "$(basename "$case"): not as expected"
        failed=1
    fi
done
exit "$failed"
