#!/bin/bash
# Does llama.cpp load our GGUF files, and compute with them what we say?
#
#   llamacpp.sh LLAMA_BIN BALEEN DIR TEXT [WORK]
#
# LLAMA_BIN holds llama-perplexity and llama-quantize (docs/interop.md says how to build them), DIR is a checkpoint, TEXT
# the evaluation text. Makes F32, Q8_0 and Q4_0 files in WORK (default: a temporary folder, removed at the end), runs
# llama-perplexity and `baleen verify` on each, and prints one table. Exit 1 unless the perplexities agree: F32 within 0.1 %;
# Q8_0 and Q4_0 within 0.5 % as they are (llama.cpp rounds activations to 8 bits there), and within 0.1 % when the same
# file is first decoded to F32 by llama-quantize; mean KL divergence of that within 10 % or 0.00005.
# --no-repack: repacked kernels crash on small deepseek2 files.
set -euo pipefail

if [ $# -lt 4 ]; then
	sed -n '2,13s/^# \{0,1\}//p' "$0"
	exit 2
fi
bin=$1 baleen=$2 dir=$3 text=$4
if [ $# -ge 5 ]; then
	work=$5
	mkdir -p "$work"
else
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
fi
exact=(-ctk f32 -ctv f32 -fa off --no-repack -t "$(nproc)")

# llama FILE LOG LAST [options]: its output, kept. Its logger sometimes loses the last lines: again until LAST is there.
llama() {
	local file=$1 log=$2 last=$3 try
	shift 3
	for try in 1 2 3 4 5; do
		"$bin/llama-perplexity" -m "$file" -f "$text" "${exact[@]}" "$@" >"$log" 2>&1 || {
			tail -n 20 "$log"
			echo "llamacpp: llama-perplexity failed on $file" >&2
			exit 1
		}
		! grep -q "$last" "$log" || return 0
	done
	echo "llamacpp: llama-perplexity lost its last lines $try times on $file" >&2
	exit 1
}

"$baleen" convert "$dir" -o "$work/f32.gguf" --dtype f32 -q
"$baleen" quantize "$dir" -o "$work/q8_0.gguf" --type q8_0 -q
"$baleen" quantize "$dir" -o "$work/q4_0.gguf" --type q4_0 -q
for type in f32 q8_0 q4_0; do
	"$baleen" verify "$work/$type.gguf" --against "$dir" --text "$text" --json -q >"$work/$type.json"
done
llama "$work/f32.gguf" "$work/f32.log" "Final estimate" --kl-divergence-base "$work/base.bin"
for type in q8_0 q4_0; do
	"$bin/llama-quantize" --allow-requantize "$work/$type.gguf" "$work/$type.decoded.gguf" F32 >"$work/$type.decode.log" 2>&1
	llama "$work/$type.gguf" "$work/$type.log" "Same top p:" --kl-divergence-base "$work/base.bin" --kl-divergence
	llama "$work/$type.decoded.gguf" "$work/$type.decoded.log" "Same top p:" --kl-divergence-base "$work/base.bin" --kl-divergence
done

python3 - "$work" <<'EOF'
import json
import os
import re
import sys

work, bad = sys.argv[1], 0


def number(log, pattern):
    m = re.search(pattern, log)
    return float(m[1]) if m else None


print(f"{'file':14} {'bytes':>12} {'llama.cpp ppl':>14} {'baleen ppl':>12} {'off %':>9} {'limit %':>8} {'llama KLD':>10} {'baleen KLD':>10} {'top % llama/baleen':>20}")
for name, limit in (("f32", 0.1), ("q8_0", 0.5), ("q8_0.decoded", 0.1), ("q4_0", 0.5), ("q4_0.decoded", 0.1)):
    kind = name.split(".")[0]
    ours = json.load(open(f"{work}/{kind}.json"))
    log = open(f"{work}/{name}.log", errors="replace").read()
    ppl = number(log, r"Mean PPL\(Q\)\s*:\s*([\d.]+)") or number(log, r"Final estimate: PPL = ([\d.]+)")
    kld, top = number(log, r"Mean\s+KLD:\s*(-?[\d.]+)"), number(log, r"Same top p:\s*([\d.]+)")
    off = abs(ours["perplexity"] / ppl - 1) * 100 if ppl else float("nan")
    fails = [] if off <= limit else ["perplexity"]
    if name.endswith("decoded"):
        d = abs(ours["mean_kld"] - kld) if kld is not None else float("nan")
        fails += [] if d <= max(5e-5, 0.1 * kld) else ["KL divergence"]
    bad += len(fails)
    tops = f"{top:.2f} / {100 * ours['same_top']:.2f}" if top is not None else "-"
    print(f"{name:14} {os.path.getsize(f'{work}/{name}.gguf'):12} {ppl or 0:14.4f} {ours['perplexity']:12.4f} {off:9.4f} {limit:8} "
          f"{'-' if kld is None else format(kld, '.6f'):>10} {ours['mean_kld']:10.6f} {tops:>20}  {'FAIL ' + ', '.join(fails) if fails else 'ok'}")
sys.exit(1 if bad else 0)
EOF
