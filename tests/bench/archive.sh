#!/bin/bash
# A checkpoint to one .bln file and back, against `zstd -1 -T2` and `zstd -d` on the same shards.
#
#   archive.sh BALEEN DIR WORK [RUNS]
#
# Prints each run: user, system and wall seconds, peak KiB, bytes. Never fails on a time. Needs zstd and /usr/bin/time; WORK needs
# room for two archives and one copy of DIR.
set -euo pipefail

if [ $# -lt 3 ]; then
	sed -n '2,7s/^# \{0,1\}//p' "$0"
	exit 2
fi
baleen=$1 dir=$2 work=$3 runs=${4:-3}
mkdir -p "$work"

measure() { # measure NAME OUT command...
	local name=$1 out=$2
	shift 2
	/usr/bin/time -o "$work/time" -f '%U %S %e %M' "$@" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
	read -r user system wall peak <"$work/time"
	printf '%-16s %8s %8s %8s %10s %12s\n' "$name" "$user" "$system" "$wall" "$peak" "$(du -sb --apparent-size "$out" | cut -f1)"
}

shards=("$dir"/*.safetensors)
cat "${shards[@]}" >/dev/null
printf '%-16s %8s %8s %8s %10s %12s\n' '' user system wall 'peak KiB' 'bytes out'
printf '%-16s %49s\n' input "$(cat "${shards[@]}" | wc -c)"
for ((i = 0; i < runs; i++)); do
	measure 'zstd -1 -T2' "$work/shards.zst" bash -c 'out=$1; shift; cat "$@" | zstd -1 -T2 -q -f -o "$out"' - "$work/shards.zst" "${shards[@]}"
	measure 'baleen to .bln' "$work/model.bln" "$baleen" convert "$dir" -o "$work/model.bln" --force -q
	measure 'zstd -d' "$work/shards.zst" bash -c 'zstd -d -q -c "$1" >"$2"' - "$work/shards.zst" "$work/back.bin"
	rm -f "$work/back.bin"
	measure 'baleen from .bln' "$work/back" "$baleen" convert "$work/model.bln" -o "$work/back" --force -q
	rm -rf "$work/back"
done
rm -f "$work/shards.zst" "$work/model.bln"
