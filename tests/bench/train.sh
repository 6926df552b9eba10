#!/bin/bash
# Training, against torch: the same student, batch, threads and kind of loss, in turns. Tokens/s, ratio, peak memory.
#
#   train.sh BALEEN PYTHON MODEL TEXT WORK [SHAPE...]
#
# PYTHON has torch, transformers, numpy, safetensors. MODEL gives the tokenizer. TEXT is cached once for each shape: its answers
# come from a random teacher, as only time is measured. Shapes (random_checkpoint.py): small, large. From the environment: BATCH
# (8), POSITIONS (256), THREADS (2), RUNS (3), STEPS (small 40, large 6), LOSSES ("ce sparse full").
# A rate of baleen is the time of STEPS more steps: of a run of 2 + STEPS less that of a run of 2. Never fails on a time.
set -euo pipefail

if [ $# -lt 5 ]; then
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
baleen=$1 python=$2 model=$3 text=$4 work=$5
shift 5
batch=${BATCH:-8} positions=${POSITIONS:-256} threads=${THREADS:-2} runs=${RUNS:-3} losses=${LOSSES:-ce sparse full}
mkdir -p "$work"

make() { # make SHAPE: the student, its teacher, and what that says
	local vocabulary=
	[ "$1" = large ] && vocabulary=16384
	[ -e "$work/$1/config.json" ] || "$python" "$here/random_checkpoint.py" "$work/$1" "$model" "$1" $vocabulary
	[ -e "$work/$1.teacher/config.json" ] ||
		"$python" "$here/random_checkpoint.py" "$work/$1.teacher" "$model" teacher $vocabulary
	for kind in sampled hidden; do
		"$baleen" distill teach "$work/$1.teacher" --text "$text" -o "$work/$1.$kind" --kind $kind --ctx "$positions" \
			--tokens $((batch * positions * 64)) -q >/dev/null
	done
}

ours() { # ours SHAPE LOSS STEPS: seconds, peak KiB
	local shape=$1 cache=$work/$1.sampled loss=fkl
	[ "$2" = full ] && cache=$work/$1.hidden
	[ "$2" = ce ] && loss=ce
	/usr/bin/time -o "$work/time" -f '%e %M' "$baleen" distill train "$work/$shape" --cache "$cache" -o "$work/out" --force \
		--loss $loss --steps "$3" --batch "$batch" -j "$threads" -q >/dev/null 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
	cat "$work/time"
}

rate_ours() { # rate_ours SHAPE LOSS STEPS
	local short long
	short=$(ours "$1" "$2" 2)
	long=$(ours "$1" "$2" $((2 + $3)))
	awk -v short="$short" -v long="$long" -v n=$((batch * positions * $3)) \
		'BEGIN { split(short, a); split(long, b); printf "%.0f %.0f\n", n / (b[1] - a[1]), b[2] / 1024 }'
}

rate_torch() { # rate_torch SHAPE LOSS STEPS
	"$python" "$here/train_torch.py" "$work/$1" --loss "$2" --batch "$batch" --positions "$positions" --steps "$3" \
		--threads "$threads" 2>/dev/null | sed -E 's/.*: ([0-9]+) tokens.s, peak ([0-9]+) MiB.*/\1 \2/'
}

median() { sort -n | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'; }

printf '%-8s %-8s %12s %10s %12s %10s %8s %8s\n' shape loss baleen/s MiB torch/s MiB ratio memory
[ $# -gt 0 ] || set -- small large
for s in "$@"; do
	make "$s"
	steps=${STEPS:-$([ "$s" = large ] && echo 6 || echo 40)}
	for loss in $losses; do
		rm -f "$work/a" "$work/b"
		for ((i = 0; i < runs; i++)); do
			rate_ours "$s" "$loss" "$steps" >>"$work/a"
			rate_torch "$s" "$loss" "$steps" >>"$work/b"
		done
		printf '%s %s %s %s %s %s\n' "$s" "$loss" "$(cut -d' ' -f1 "$work/a" | median)" "$(cut -d' ' -f2 "$work/a" | median)" \
			"$(cut -d' ' -f1 "$work/b" | median)" "$(cut -d' ' -f2 "$work/b" | median)" |
			awk '{ printf "%-8s %-8s %12d %10d %12d %10d %8.2f %8.2f\n", $1, $2, $3, $4, $5, $6, $3 / $5, $4 / $6 }'
	done
done
