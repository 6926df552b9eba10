#!/bin/bash
# A checkpoint folder to Q8_0 and to BF16 GGUF: ours against llama.cpp's convert_hf_to_gguf.py, in alternation, and the disk's rate.
#
#   convert.sh BALEEN PYTHON LLAMA_CPP_SOURCE DIR WORK [RUNS]
#
# DIR is a checkpoint with DeepSeek's tokenizer, WORK a folder with room for two results. Theirs runs as `--outtype q8_0`, as
# `--outtype bf16 --fp8-as-q8` and as `--outtype bf16`. `dd` writes as many zeros as the BF16 file has, synced as ours are. Prints each run
# (user, system and wall seconds, peak KiB, bytes out), then medians and ratios. Never fails on a time. PYTHON needs what llama.cpp's
# script needs: torch, transformers, numpy, sentencepiece, gguf. Also needs /usr/bin/time.
set -euo pipefail

if [ $# -lt 5 ]; then
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 2
fi
baleen=$1 python=$2 source=$3 dir=$4 work=$5 runs=${6:-5}
here=$(dirname "$0")
mkdir -p "$work"
: >"$work/table"

measure() { # measure NAME OUT command...: one line; the command's own output in WORK/log
	local name=$1 out=$2
	shift 2
	rm -f "$out"
	/usr/bin/time -o "$work/time" -f '%U %S %e %M' "$@" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
	read -r user system wall peak <"$work/time"
	printf '%-26s %8s %8s %8s %10s %13s\n' "$name" "$user" "$system" "$wall" "$peak" "$(stat -c %s "$out")" | tee -a "$work/table"
	rm -f "$out"
}

theirs() { # theirs NAME options...
	local name=$1
	shift
	measure "$name" "$work/theirs.gguf" "$python" "$here/../interop/llamacpp_convert.py" "$source" deepseek-v3 "$dir" \
		--outfile "$work/theirs.gguf" "$@"
}

cat "$dir"/*.safetensors >/dev/null # into the page cache, as far as it fits
printf '%-26s %8s %8s %8s %10s %13s\n' '' user system wall 'peak KiB' 'bytes out'
for ((i = 0; i < runs; i++)); do
	theirs 'llama.cpp q8_0' --outtype q8_0
	measure 'baleen q8_0' "$work/ours.gguf" "$baleen" quantize "$dir" -o "$work/ours.gguf" --type q8_0 -q
	theirs 'llama.cpp fp8-as-q8' --outtype bf16 --fp8-as-q8
	theirs 'llama.cpp bf16' --outtype bf16
	measure 'baleen bf16' "$work/ours.gguf" "$baleen" convert "$dir" -o "$work/ours.gguf" -q
	bytes=$(awk 'END { print $NF }' "$work/table")
	measure 'dd, as many bytes as bf16' "$work/dd" dd if=/dev/zero of="$work/dd" bs=1M count=$((bytes >> 20)) conv=fsync
done
python3 - "$work/table" <<'END'
import statistics
import sys

runs = {}
for line in open(sys.argv[1]):
    user, system, wall, peak, size = map(float, line[26:].split())
    runs.setdefault(line[:26].strip(), []).append((wall, user + system, peak))
median = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in runs.items()}
print(f"\nmedians of {len(next(iter(runs.values())))}")
for name, (wall, cpu, peak) in median.items():
    ours = median["baleen bf16" if "bf16" in name and "q8" not in name else "baleen q8_0"]
    print(f"{name:26} wall {wall:7.2f} s  CPU {cpu:7.2f} s  peak {peak / 1024:8.1f} MiB  wall / ours {wall / ours[0]:5.2f}  peak / ours {peak / ours[2]:6.1f}")
END
