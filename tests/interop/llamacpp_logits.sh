#!/bin/bash
# Do llama.cpp and we read each other's files of log-probabilities?
#
#   llamacpp_logits.sh LLAMA_BIN BALEEN DIR TEXT [WORK]
#
# LLAMA_BIN holds llama-perplexity and llama-quantize (docs/interop.md says how to build them), DIR is a checkpoint, TEXT
# the evaluation text, of which 8 chunks are used. Both programs write the file of the same model (F32) with
# --kl-divergence-base and --save-logits, and both compare a Q4_0 model, decoded to F32, with both files. One table; exit 1
# unless the mean KL divergences of all four agree within 1 % or 0.00002, and that of the model from the other program's file
# of itself is below 0.00002. WORK: default a temporary folder, removed at the end.
set -euo pipefail

if [ $# -lt 4 ]; then
	sed -n '2,11s/^# \{0,1\}//p' "$0"
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
exact=(-c 512 --chunks 8 -ctk f32 -ctv f32 -fa off --no-repack -t "$(nproc)")

# llama MODEL LOG LAST [options]: its output, kept. Its logger sometimes loses the last lines: again until LAST is there.
llama() {
	local model=$1 log=$2 last=$3 try
	shift 3
	for try in 1 2 3 4 5; do
		"$bin/llama-perplexity" -m "$model" -f "$text" "${exact[@]}" "$@" >"$log" 2>&1 || {
			tail -n 20 "$log"
			echo "llamacpp_logits: llama-perplexity failed on $model" >&2
			exit 1
		}
		! grep -q "$last" "$log" || return 0
	done
	echo "llamacpp_logits: llama-perplexity lost its last lines $try times on $model" >&2
	exit 1
}

# What llama.cpp and we say of a model against a file: mean KL divergence.
llama_kld() {
	llama "$1" "$work/kld.log" "Same top p:" --kl-divergence --kl-divergence-base "$2"
	sed -n 's/^Mean *KLD: *\(-\{0,1\}[0-9.]*\).*/\1/p' "$work/kld.log"
}
our_kld() {
	"$baleen" verify "$1" --text "$text" --logits "$2" --json -q | sed -n 's/^  "mean_kld": \([-0-9.e]*\),$/\1/p'
}

# The Q4_0 model decoded to F32, so that llama.cpp does not round activations.
"$baleen" convert "$dir" -o "$work/f32.gguf" --dtype f32 -q >/dev/null
"$baleen" quantize "$dir" -o "$work/q4_0.gguf" --type q4_0 -q >/dev/null
"$bin/llama-quantize" --allow-requantize "$work/q4_0.gguf" "$work/q4_0.f32.gguf" F32 >"$work/decode.log" 2>&1

llama "$work/f32.gguf" "$work/base.log" "Final estimate" --kl-divergence-base "$work/llama.bin"
"$baleen" verify "$dir" --text "$text" --tokens 4096 --save-logits "$work/ours.bin" --logits-kind llama.cpp --force --json -q >"$work/ours.json"
"$baleen" verify "$dir" --text "$text" --tokens 4096 --save-logits "$work/sparse.bin" --force --json -q >/dev/null

python3 - "$work" "$(stat -c %s "$work/llama.bin")" "$(stat -c %s "$work/ours.bin")" \
	"$(our_kld "$dir" "$work/llama.bin")" "$(llama_kld "$work/f32.gguf" "$work/ours.bin")" \
	"$(llama_kld "$work/q4_0.f32.gguf" "$work/llama.bin")" "$(llama_kld "$work/q4_0.f32.gguf" "$work/ours.bin")" \
	"$("$baleen" verify "$work/q4_0.gguf" --against "$dir" --text "$text" --tokens 4096 --json -q | sed -n 's/^  "mean_kld": \([-0-9.e]*\),$/\1/p')" \
	"$("$baleen" verify "$work/q4_0.gguf" --logits "$work/sparse.bin" --json -q | sed -n 's/^  "mean_kld": \([-0-9.e]*\),$/\1/p')" <<'PY'
import sys

sizes, (ours_llama, llama_ours, q_llama, q_ours, exact, sparse) = sys.argv[2:4], map(float, sys.argv[4:])
rows = [("the model itself", "baleen", "llama.cpp", ours_llama, 0), ("the model itself", "llama.cpp", "baleen", llama_ours, 0),
        ("Q4_0", "llama.cpp", "llama.cpp", q_llama, exact), ("Q4_0", "llama.cpp", "baleen", q_ours, exact),
        ("Q4_0", "baleen", "both models", exact, exact), ("Q4_0", "baleen", "baleen, sparse", sparse, exact)]
bad = sizes[0] != sizes[1]
print(f"bytes of the two files: {', '.join(sizes)}{'  FAIL' if bad else ''}")
print(f"{'model':18} {'compared by':12} {'file written by':16} {'mean KLD':>10}")
for model, by, file, kld, want in rows:
    ok = abs(kld - want) <= max(2e-5, 0.01 * want)
    bad |= not ok
    print(f"{model:18} {by:12} {file:16} {kld:10.6f}  {'ok' if ok else 'FAIL'}")
sys.exit(1 if bad else 0)
PY
