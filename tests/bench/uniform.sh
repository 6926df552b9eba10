#!/bin/bash
# One type for every matrix against a budget of as many bytes: mean KL divergence to the source, by `baleen verify`.
#
#   uniform.sh BALEEN MODEL STATS WORK TEXT...
#
# STATS: `baleen calibrate MODEL --text CALIB -o STATS --sensitivity`. WORK: a folder for two files. A line a type: bytes, divergence on
# each text (its first 16,384 tokens), then the same of the budget. Rows that do not divide into a type's blocks take one of 32.
set -euo pipefail

if [ $# -lt 5 ]; then
	sed -n '2,7s/^# \{0,1\}//p' "$0"
	exit 2
fi
baleen=$1 model=$2 stats=$3 work=$4
shift 4

divergences() { # divergences FILE: on each text
	local text
	for text in "${texts[@]}"; do
		"$baleen" verify "$1" --against "$model" --text "$text" --tokens 16384 --json -q |
			sed -n 's/.*"mean_kld": \([0-9.e-]*\).*/\1/p' | head -n 1
	done | tr '\n' ' '
}

texts=("$@")
for type in q2_k q3_k iq4_xs q4_k q5_k q6_k; do
	"$baleen" quantize "$model" -o "$work/uniform.gguf" --type f32 --tensor "*=$type" --stats "$stats" --force -q >/dev/null
	size=$(stat -c %s "$work/uniform.gguf")
	"$baleen" quantize "$model" -o "$work/budget.gguf" --size "$size" --stats "$stats" --force -q >/dev/null
	printf '%-8s %12s  %s | %12s  %s\n' "$type" "$size" "$(divergences "$work/uniform.gguf")" \
		"$(stat -c %s "$work/budget.gguf")" "$(divergences "$work/budget.gguf")"
done
