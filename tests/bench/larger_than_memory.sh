#!/bin/bash
# Bytes read from the disk to score a text with a model that does not fit in memory: baleen beside llama-perplexity.
#
#   larger_than_memory.sh BALEEN LLAMA_PERPLEXITY MODEL.gguf TEXT TOKENS LIMIT
#
# Each program runs in a memory control group (version 1, which root can make) of LIMIT bytes, page cache included, that is
# smaller than MODEL, after the caches are dropped. Prints bytes read (read_bytes of /proc/PID/io), as a multiple of the
# file, and seconds. With LLAMA_PERPLEXITY "-" only baleen runs. TOKENS: a multiple of 512.
set -euo pipefail

if [ $# -ne 6 ]; then
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 2
fi
baleen=$1 peer=$2 model=$3 text=$4 tokens=$5 limit=$6
group=/sys/fs/cgroup/memory/baleen-bench
work=$(mktemp -d)
trap 'rm -rf "$work"; rmdir "$group" 2>/dev/null || true' EXIT
size=$(du -sbL "$model" | cut -f1)
mkdir -p "$group"
echo "$limit" >"$group/memory.limit_in_bytes"

measure() { # measure NAME command...
	local name=$1
	shift
	sync
	echo 3 >/proc/sys/vm/drop_caches
	SECONDS=0
	# the shell has read next to nothing itself, and its account takes in that of the program when it has ended
	GROUP=$group LOG=$work/$name.log IO=$work/io bash -c 'echo $$ >"$GROUP/cgroup.procs"; "$@" >"$LOG" 2>&1
		while read -r key value; do [ "$key" != read_bytes: ] || echo "$value" >"$IO"; done </proc/$$/io' _ "$@"
	awk -v name="$name" -v n="$(cat "$work/io")" -v size="$size" -v s=$SECONDS \
		'BEGIN { printf "%-18s %10.2f GB read %8.3f times the file %8d s\n", name, n / 1e9, n / size, s }'
}

echo "$(awk "BEGIN { printf \"%.2f GB\", $size / 1e9 }") in a group of $(awk "BEGIN { printf \"%.2f GB\", $limit / 1e9 }"), $tokens tokens"
measure baleen "$baleen" verify "$model" --structure-only --text "$text" --tokens "$tokens" -j 2 -q
if [ "$peer" != - ]; then
	measure llama-perplexity "$peer" -m "$model" -f "$text" -c 512 --chunks $((tokens / 512)) --no-repack -t 2
fi
grep -h 'perplexity  ' "$work/baleen.log" || tail -n 3 "$work/baleen.log"
