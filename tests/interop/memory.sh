#!/bin/bash
# Does the memory of quantize and verify grow with the number of layers or experts? Measured on full-shape R1 layers.
#
#   memory.sh SKELETON BALEEN TOKENIZER TEXT WORK [EXPERTS [LAYERS_A LAYERS_B]]
#
# SKELETON is r1_skeleton.py (writes checkpoints with R1's exact shapes), TOKENIZER the folder of the DeepSeek vocabulary.
# Makes one MoE layer (LAYERS_A, default 3) and two (LAYERS_B, default 3-4) of EXPERTS (default 32) full-size experts, and one
# with twice the experts, and prints the peak resident size of `baleen quantize --type q4_0` and of `baleen verify` on each
# (on the first 6000 bytes of TEXT: two chunks of 512 tokens). Exit 1 when a peak grows by more than 10 % and 64 MiB. The
# checkpoints stay in WORK for another run: 20 GB of disk for 32 experts. Needs numpy and /usr/bin/time.
set -euo pipefail

if [ $# -lt 5 ]; then
	sed -n '2,11s/^# \{0,1\}//p' "$0"
	exit 2
fi
skeleton=$1 baleen=$2 tokenizer=$3 text=$4 work=$5
experts=${6:-32} one=${7:-3} two=${8:-3-4}
mkdir -p "$work"
head -c 6000 "$text" >"$work/text"

peak() { # peak LOG command...: peak resident KiB and seconds; the command's own output in LOG
	local log=$1
	shift
	if ! /usr/bin/time -f 'PEAK %M %e' "$@" >"$log" 2>&1; then
		tail -n 5 "$log" >&2
		exit 1
	fi
	sed -n 's/^PEAK //p' "$log"
}

measure() { # measure NAME LAYERS EXPERTS: one line of the table
	local name=$1 dir=$work/$1 gguf=$work/$1.gguf q v
	[ -d "$dir" ] || python3 "$skeleton" "$dir" --layers "$2" --experts "$3" --fill >"$work/$name.make.log"
	cp -n "$tokenizer"/tokenizer*.json "$dir"
	rm -f "$gguf"
	q=$(peak "$work/$name.quantize.log" "$baleen" quantize "$dir" -o "$gguf" --type q4_0 -q)
	v=$(peak "$work/$name.verify.log" "$baleen" verify "$gguf" --against "$dir" --text "$work/text" -q)
	printf '%-22s %8.2f %8.2f %12.1f %8.1f %12.1f %8.1f\n' "layers $2, experts $3" \
		"$(du -sb "$dir" | awk '{print $1 / 1e9}')" "$(stat -c %s "$gguf" | awk '{print $1 / 1e9}')" \
		"$(awk '{print $1 / 1024}' <<<"$q")" "${q#* }" "$(awk '{print $1 / 1024}' <<<"$v")" "${v#* }" | tee -a "$work/table"
	echo "${q% *} ${v% *}" >>"$work/peaks"
	rm -f "$gguf"
}

rm -f "$work/peaks" "$work/table"
printf '%-22s %8s %8s %12s %8s %12s %8s\n' '' 'in GB' 'out GB' 'quantize MiB' 's' 'verify MiB' 's'
measure a "$one" "$experts"
measure b "$two" "$experts"
measure c "$one" "$((2 * experts))"
awk 'NR == 1 { q = $1; v = $2; next }
	$1 > 1.1 * q && $1 > q + 65536 { print "memory: quantize grows: " q " -> " $1 " KiB"; bad = 1 }
	$2 > 1.1 * v && $2 > v + 65536 { print "memory: verify grows: " v " -> " $2 " KiB"; bad = 1 }
	END { exit bad }' "$work/peaks"
