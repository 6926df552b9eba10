#!/bin/sh
# A training that is killed, again and again, ends with the bytes of one that is not.
#
#   kill_training.sh BALEEN STUDENT CACHE WORK [KILLS [options of distill train]]
#
# Once without a kill; then with SIGKILL after a random while, and --resume, KILLS times (20), checkpoints every 3 steps; at
# last it is left alone. The whole folders are compared. Exit 1 when they differ, or when nothing was ever gone on with.
set -eu
[ $# -ge 4 ] || { sed -n '4,7s/^# \{0,1\}//p' "$0"; exit 2; }
baleen=$(realpath "$1") student=$(realpath "$2") cache=$(realpath "$3") kills=${5:-20}
mkdir -p "$4"
cd "$4"
shift 4
[ $# -gt 0 ] && shift
train() { "$baleen" distill train "$student" --cache "$cache" --save-every 3 --eval-every 0 "$@"; }

rm -rf whole whole.* killed killed.*
start=$(date +%s%N)
train -o whole --steps 40 "$@" >whole.out
took=$((($(date +%s%N) - start) / 1000000))
done_kills=0
for i in $(seq "$kills"); do
    # somewhere in the run, or what is left of it
    wait=$(awk -v seed="$i" -v took="$took" 'BEGIN { srand(seed); printf "%.3f", took * (0.05 + 0.35 * rand()) / 1000 }')
    train -o killed --steps 40 --resume "$@" >killed.out 2>killed.err &
    pid=$!
    sleep "$wait"
    if kill -9 $pid 2>/dev/null; then
        done_kills=$((done_kills + 1))
    fi
    wait $pid 2>/dev/null || true
    [ ! -d killed ] || break
done
[ -d killed ] || train -o killed --steps 40 --resume "$@" >killed.out
diff -r whole killed
[ $done_kills -gt 2 ] || { echo "only $done_kills kills" >&2; exit 1; }
echo "$done_kills kills; $(ls killed | wc -l) files, the same bytes"
