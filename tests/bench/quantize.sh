#!/bin/bash
# Seconds, peak memory and bytes written from FP8 shards to a quantized GGUF: this project's single pass against
# llama.cpp's two (convert_hf_to_gguf.py to BF16, then llama-quantize), side by side in one run.
#
#   quantize.sh BALEEN PYTHON LLAMA_CPP_SOURCE LLAMA_QUANTIZE DIR WORK [RUNS [TYPES [CALIB]]]
#
# DIR is a checkpoint with DeepSeek's tokenizer, WORK a folder with room for the BF16 file and two results. TYPES (default "q8_0
# q4_0 q4_k_m") in one word. With CALIB, a text, both weigh columns: statistics of 2,048 tokens, for llama-quantize as an imatrix.
# Prints each run (user, system and wall seconds, peak KiB, bytes written); medians are the reader's. Never fails on a time. PYTHON
# needs what llama.cpp's script needs: torch, transformers, numpy, sentencepiece, gguf. Also needs /usr/bin/time.
set -euo pipefail

if [ $# -lt 6 ]; then
	sed -n '2,11s/^# \{0,1\}//p' "$0"
	exit 2
fi
baleen=$1 python=$2 source=$3 llama_quantize=$4 dir=$5 work=$6 runs=${7:-3} types=${8:-q8_0 q4_0 q4_k_m} calib=${9:-}
here=$(dirname "$0")
ours=() theirs=()
mkdir -p "$work"

measure() { # measure NAME OUT command...: one line; the command's own output in WORK/log
	local name=$1 out=$2
	shift 2
	/usr/bin/time -o "$work/time" -f '%U %S %e %M' "$@" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
	read -r user system wall peak <"$work/time"
	printf '%-24s %8s %8s %8s %10s %12s\n' "$name" "$user" "$system" "$wall" "$peak" "$(stat -c %s "$out")"
}

nproc=$(nproc)
cat "$dir"/*.safetensors >/dev/null # into the page cache, as far as it fits
printf '%-24s %8s %8s %8s %10s %12s\n' '' user system wall 'peak KiB' 'bytes out'
if [ -n "$calib" ]; then
	measure 'baleen calibrate' "$work/s.safetensors" "$baleen" calibrate "$dir" --text "$calib" --tokens 2048 \
		-o "$work/s.safetensors" --force -q
	"$baleen" calibrate --imatrix "$work/s.safetensors" -o "$work/s.gguf" --force -q >/dev/null
	ours=(--stats "$work/s.safetensors") theirs=(--imatrix "$work/s.gguf")
fi
for ((i = 0; i < runs; i++)); do
	measure 'llama.cpp to bf16' "$work/bf16.gguf" "$python" "$here/../interop/llamacpp_convert.py" "$source" deepseek-v3 "$dir" \
		--outtype bf16 --outfile "$work/bf16.gguf"
	for type in $types; do
		measure "llama.cpp bf16 to $type" "$work/theirs.gguf" "$llama_quantize" "${theirs[@]}" "$work/bf16.gguf" \
			"$work/theirs.gguf" "$type" "$nproc"
		rm -f "$work/theirs.gguf"
		measure "baleen to $type" "$work/ours.gguf" "$baleen" quantize "$dir" -o "$work/ours.gguf" --type "$type" "${ours[@]}" \
			--force -q
		rm -f "$work/ours.gguf"
	done
	rm -f "$work/bf16.gguf"
done
