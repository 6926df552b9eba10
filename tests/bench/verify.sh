#!/bin/bash
# Perplexity of the same text and model: `baleen verify` on the checkpoint DIR (FP8 as it is) against llama-perplexity on the F32 GGUF
#
#   verify.sh BALEEN LLAMA_PERPLEXITY DIR MODEL.f32.gguf TEXT WORK [RUNS]
#
# Prints each run: user, system and wall seconds, peak KiB, and both perplexities at the end. Never fails on a time. Needs
# /usr/bin/time.
set -euo pipefail

if [ $# -lt 6 ]; then
	sed -n '2,7s/^# \{0,1\}//p' "$0"
	exit 2
fi
baleen=$1 peer=$2 dir=$3 model=$4 text=$5 work=$6 runs=${7:-5}
mkdir -p "$work"

measure() { # measure NAME LOG command...
	local name=$1 log=$2
	shift 2
	/usr/bin/time -o "$work/time" -f '%U %S %e %M' "$@" >"$log" 2>&1 || { tail -n 5 "$log" >&2; exit 1; }
	read -r user system wall peak <"$work/time"
	printf '%-18s %8s %8s %8s %10s\n' "$name" "$user" "$system" "$wall" "$peak"
}

printf '%-18s %8s %8s %8s %10s\n' '' user system wall 'peak KiB'
for ((i = 0; i < runs; i++)); do
	measure llama-perplexity "$work/theirs" "$peer" -m "$model" -f "$text" -ctk f32 -ctv f32 -fa off --no-repack -t 2
	measure 'baleen verify' "$work/ours" "$baleen" verify "$dir" --text "$text" -j 2 -q
done
# Their build may print running values only: the last one is shown, and what it says at the end if it does.
grep -a -o '\[[0-9]*\][0-9.]*' "$work/theirs" | tail -n 1
grep -a 'Final estimate' "$work/theirs" || true
grep -a -i perplexity "$work/ours" | head -n 2
