#!/bin/sh
# clang-tidy over all sources (.clang-tidy): tidy.sh BUILD, a folder that was configured with clang
# and -DCMAKE_EXPORT_COMPILE_COMMANDS=ON. Prints what it finds; a finding is a failure.
set -eu
cd "$(dirname "$0")/../.."
build=${1:?usage: tests/lint/tidy.sh BUILD}

# analyzer.h would rename the very functions that base/err.c and base/alloc.c define. What goes to
# standard error are counts of suppressed warnings.
find base formats convert model verify prune quantize distill cli -name '*.c' \
    ! -path base/err.c ! -path base/alloc.c 2>/dev/null | sort |
    xargs -n 1 -P "$(nproc)" clang-tidy --quiet --warnings-as-errors='*' -p "$build" \
        --extra-arg=-include --extra-arg="$PWD/tests/lint/analyzer.h" 2>"$build/tidy.log"
for file in base/err.c base/alloc.c; do
    clang-tidy --quiet --warnings-as-errors='*' -p "$build" "$file" 2>>"$build/tidy.log"
done
