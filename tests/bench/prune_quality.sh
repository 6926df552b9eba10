#!/bin/sh
# What pruning costs, and what it is worth beside fewer bits: the tables of docs/quality.md.
#
#   prune_quality.sh BALEEN MODEL TEXTS WORK [PART...]
#
# TEXTS holds calib.txt, wiki.eval.txt and code.eval.txt; WORK is a folder for what is made. Parts: sweep, domains,
# rank, ungroup, layers, bytes (all without any). Seconds for calibration, minutes for each part.
set -eu
[ $# -ge 4 ] || { sed -n '4,7s/^# *//p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
baleen=$(realpath "$1") model=$(realpath "$2") texts=$(realpath "$3")
mkdir -p "$4"
cd "$4"
shift 4
parts=${*:-sweep domains rank ungroup layers bytes}
prose=$texts/wiki.eval.txt code=$texts/code.eval.txt

calibrate() { # STATS MODEL TEXT
    [ -e "$1" ] || "$baleen" calibrate "$2" --text "$3" -o "$1" -q >/dev/null
}

try() {
    "$baleen" prune "$model" --dry-run --text "$prose" --text "$code" -q "$@"
}

sweep() {
    try --stats all.st --sweep 0.125,0.25,0.375,0.5 --method all --plot sweep.svg --force
}

# Statistics of the two kinds that can be told apart in the mixed text.
kinds() {
    [ -e prose.txt ] || awk -v code=code.txt -v prose=prose.txt -f "$here/domains.awk" "$texts/calib.txt"
    calibrate code.st "$model" code.txt
    calibrate prose.st "$model" prose.txt
}

# Each alone, and together.
domains() {
    kinds
    for kind in code prose; do
        echo "calibrated on $kind"
        try --stats $kind.st --sweep 0.125,0.25,0.375,0.5 --method reap,easy-ep,frequency
    done
    echo "calibrated on both, with equal weights"
    try --stats code.st --stats prose.st --sweep 0.125,0.25,0.375,0.5 --method reap,msan,easy-ep,frequency
}

rank() {
    try --stats all.st --rank-layer 2 --sweep 0.125,0.25,0.375,0.5 --method all --tokens 8192
}

ungroup() {
    try --stats all.st --ungroup --sweep 0,0.125,0.25,0.375,0.5 --method reap,easy-ep
}

layers() {
    for n in 1 2; do
        try --stats all.st --drop-layers $n --sweep 0
    done
    for k in 3 2; do
        try --stats all.st --experts-per-token $k --sweep 0
    done
}

# FILE NAME: size, perplexity and KL divergence from the whole model on both texts
measure() {
    for text in "$prose" "$code"; do
        "$baleen" verify "$1" --against "$model" --text "$text" --structure-only --json -q |
            { tr -d ' \n'; echo; } | sed -E 's/.*"perplexity":([0-9.]+).*"mean_kld":([0-9.]+).*"same_top":([0-9.]+).*/\1 \2 \3/'
    done | tr '\n' ' ' | awk -v name="$2" -v bytes="$(stat -c %s "$1")" \
        '{ printf "%-34s %9d  %9.4f %8.5f %6.2f %%  %9.4f %8.5f %6.2f %%\n", name, bytes, $1, $2, 100*$3, $4, $5, 100*$6 }'
}

# RATIO TYPE STATS METHOD: pruned and rounded, beside the whole model in as many bytes
against() {
    made=p$1.$3.$4
    [ -e "$made" ] || "$baleen" prune "$model" -o "$made" --ratio "$1" --stats "$3" --method "$4" -q >/dev/null
    calibrate "$made.st" "$made" "$texts/calib.txt"
    "$baleen" quantize "$made" -o p.gguf --type "$2" --stats "$made.st" -q --force >/dev/null
    measure p.gguf "$1 pruned, $2, $3 $4"
    "$baleen" quantize "$model" -o all.gguf --size "$(stat -c %s p.gguf)" --stats all.st -q --force >/dev/null
    measure all.gguf "all experts, --size as many bytes"
}

# Fewer experts against fewer bits.
bytes() {
    printf '%-34s %9s  %-27s  %-27s\n' '' bytes 'prose: perplexity, KL, top' 'code: perplexity, KL, top'
    for type in q4_k_s q4_k_m q6_k; do
        against 0.25 $type all.st reap
    done
    for type in q3_k_s q3_k_m q3_k_l q4_k_s; do
        "$baleen" quantize "$model" -o all.gguf --type $type --stats all.st -q --force >/dev/null
        measure all.gguf "all experts, $type"
    done
    against 0.5 q4_k_s all.st reap
    kinds
    against 0.25 q4_k_s prose.st easy-ep
    against 0.25 q4_k_s code.st easy-ep
    "$baleen" quantize "$model" -o all.gguf --type q2_k --stats all.st -q --force >/dev/null
    measure all.gguf "all experts, q2_k"
}

calibrate all.st "$model" "$texts/calib.txt"
for part in $parts; do
    echo "== $part"
    $part
done
