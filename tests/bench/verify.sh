#!/bin/bash
# Perplexity of the same text from the same GGUF file: `baleen verify` and llama-perplexity, in alternation.
#
#   verify.sh BALEEN LLAMA_PERPLEXITY TEXT RUNS MODEL.gguf ...
#
# For each file the median wall seconds and tokens a second of RUNS (5) runs of either program as a whole process, peak
# memory, both perplexities, and the ratio of the medians (over 1: baleen is faster). Two threads, contexts of 512, F32
# attention cache on their side; both read the file from the page cache. Never fails on a time. Needs /usr/bin/time.
set -euo pipefail

if [ $# -lt 5 ]; then
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 2
fi
baleen=$1 peer=$2 text=$3 runs=$4
shift 4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

measure() { # measure NAME command...: a line of seconds and KiB in $work/NAME
	local name=$1
	shift
	/usr/bin/time -o "$work/time" -f '%e %M' "$@" >"$work/$name.log" 2>&1 || { tail -n 5 "$work/$name.log" >&2; exit 1; }
	cat "$work/time" >>"$work/$name"
}

median() { # median FILE COLUMN
	awk -v c="$2" '{ print $c }' "$1" | sort -n | awk '{ x[NR] = $1 } END { print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'
}

printf '%-28s %9s %9s %9s %9s %7s %11s %11s %9s %9s\n' file 'tokens' 'our tok/s' 'their' 'ratio' '' 'our ppl' 'their ppl' 'our MiB' 'their'
for model in "$@"; do
	rm -f "$work"/*
	for ((i = 0; i < runs; i++)); do
		measure theirs "$peer" -m "$model" -f "$text" -c 512 -ctk f32 -ctv f32 -fa off --no-repack -t 2
		measure ours "$baleen" verify "$model" --structure-only --text "$text" -j 2 -q
	done
	tokens=$(sed -n 's/.*: \([0-9]*\) chunks of 512.*/\1/p' "$work/ours.log" | awk '{ print $1 * 512 }')
	ours=$(median "$work/ours" 1) theirs=$(median "$work/theirs" 1)
	printf '%-28s %9d %9.0f %9.0f %9.2f %7s %11s %11s %9.0f %9.0f\n' "$(basename "$model")" "$tokens" \
		"$(awk "BEGIN { print $tokens / $ours }")" "$(awk "BEGIN { print $tokens / $theirs }")" \
		"$(awk "BEGIN { print $theirs / $ours }")" '' \
		"$(awk '$1 == "perplexity" { print $2 }' "$work/ours.log")" \
		"$(grep -a -o 'Final estimate: PPL = [0-9.]*' "$work/theirs.log" | grep -o '[0-9.]*$' || grep -a -o '\[[0-9]*\][0-9.]*' "$work/theirs.log" | tail -n 1 | sed 's/.*\]//')" \
		"$(awk "BEGIN { print $(median "$work/ours" 2) / 1024 }")" "$(awk "BEGIN { print $(median "$work/theirs" 2) / 1024 }")"
done
