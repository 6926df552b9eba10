#!/bin/bash
# Is the peak memory of `verify --text` what --dry-run predicts, and under --memory?
#
#   memory_caps.sh BALEEN TEXT TOKENS MODEL [REF]
#
# Three caps: the memory that all tokens at once take, half of what is above the process itself, and the least that is not
# refused with a scratch folder. For each a line: cap, predicted and measured peak, ratio. Exit 1 when a peak is over its
# cap or more than 10 % away from what was predicted. With REF two models run in lockstep. Needs /usr/bin/time.
set -euo pipefail

if [ $# -lt 4 ]; then
	sed -n '2,8s/^# \{0,1\}//p' "$0"
	exit 2
fi
baleen=$1 text=$2 tokens=$3 model=$4 ref=${5-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

run() { # run CAP more...: verify with a cap
	local cap=$1
	shift
	"$@" "$baleen" verify "$model" ${ref:+--against "$ref"} --structure-only --text "$text" --tokens "$tokens" \
		--memory "$cap" --scratch "$scratch" "${more[@]}"
}

predict() { # predict CAP: bytes, or nothing where it is refused
	more=(--dry-run --json)
	run "$1" 2>"$scratch/err" | sed -n 's/.*"memory_bytes": \([0-9]*\).*/\1/p'
}

all=$(predict 1TB)
least=$all
while next=$(predict $((least * 97 / 100))) && [ -n "$next" ]; do least=$((least * 97 / 100)); done || true
printf '%12s %12s %12s %7s\n' 'cap MB' 'predicted' 'measured' 'ratio'
least=$((least * 105 / 100)) # the run itself holds its texts and results as well
for cap in $all $(((all + least) / 2)) "$least"; do
	predicted=$(predict "$cap")
	more=(-q)
	measured=$(run "$cap" /usr/bin/time -f '%M' 2>&1 >/dev/null | tail -n 1)
	awk -v c="$cap" -v p="$predicted" -v m="$measured" 'BEGIN {
		m *= 1024; printf "%12.1f %12.1f %12.1f %7.3f\n", c / 1e6, p / 1e6, m / 1e6, m / p
		exit m > c || m < 0.9 * p || m > 1.1 * p }' || bad=1
done
exit $bad
