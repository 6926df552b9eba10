#!/bin/sh
# What a teacher is worth to a student, by what is kept of the teacher: the tables of docs/quality.md.
#
#   distill_quality.sh BALEEN TEACHER TEXTS WORK [PART...]
#
# TEXTS holds calib.txt, wiki.eval.txt and code.eval.txt; WORK is a folder for what is made. Parts: losses, starts, table (all
# without any). Runs that are done are kept, so it can be stopped and begun again. From the environment:
#   STEPS (600) BATCH (8) CTX (256) SEEDS ("1 2 3") LR (3e-3) START_LR (1e-3) THREADS (2) EVAL_EVERY (STEPS / 12)
#   LOSSES ("ce top-25 top-100 sampled full"; also bucket-K, mixed)   EXPERTS (4)
# A seed is of the student's first weights and of the order of the text: a loss changes nothing else. Every run has the same
# tokens. The student: dense, 1.34 M parameters a token (TEACHER tiny-r1 has 5.42 M). starts: dense with the attention of the
# teacher and an FFN of its shared and EXPERTS of its experts, against random weights in that shape.
set -eu
[ $# -ge 4 ] || { sed -n '4,13s/^# \{0,1\}//p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
baleen=$(realpath "$1") teacher=$(realpath "$2") texts=$(realpath "$3")
mkdir -p "$4"
cd "$4"
shift 4
parts=${*:-losses starts table}
steps=${STEPS:-600} batch=${BATCH:-8} ctx=${CTX:-256} seeds=${SEEDS:-1 2 3} lr=${LR:-3e-3} threads=${THREADS:-2}
start_lr=${START_LR:-1e-3}
losses=${LOSSES:-ce top-25 top-100 sampled full} experts=${EXPERTS:-4}
eval_every=${EVAL_EVERY:-$((steps / 12 > 0 ? steps / 12 : 1))}
mkdir -p students runs

small="--family deepseek --hidden 128 --layers 4 --heads 4 --intermediate 400 --q-lora 64 --kv-lora 32 --nope 32 --rope 16 --v 32"

teach() { # CACHE options
    [ -e "$1.done" ] || { "$baleen" distill teach "$teacher" --text "$texts/calib.txt" -o "$@" --ctx "$ctx" -j "$threads" -q \
        >/dev/null && touch "$1.done"; }
}

# LOSS: its cache is there; options of train for it on stdout
options() {
    case $1 in
    ce) teach sampled --kind sampled --draws 50 && echo "--cache sampled --loss ce" ;;
    sampled) teach sampled --kind sampled --draws 50 && echo "--cache sampled --loss fkl" ;;
    full) teach hidden --kind hidden && echo "--cache hidden --loss fkl" ;;
    top-*) teach "$1" --kind top-k --top "${1#top-}" && echo "--cache $1 --loss fkl" ;;
    bucket-*) teach "top-${1#*-}" --kind top-k --top "${1#*-}" && echo "--cache top-${1#*-} --loss fkl --bucket" ;;
    mixed) teach mixed --kind mixed && echo "--cache mixed --loss fkl" ;;
    *) echo "no loss is called $1" >&2 && exit 2 ;;
    esac
}

# MODEL: perplexity on prose and on code, by tabs; windows as long as the student's sequences
perplexity() {
    for text in wiki code; do
        "$baleen" verify "$1" --text "$texts/$text.eval.txt" --ctx "$ctx" --structure-only --json -q -j "$threads" |
            tr -d ' \n' | sed -E 's/.*"perplexity":([0-9.]+).*/\t\1/'
    done
}

# PART NAME SEED STUDENT options: trains, measures, and adds a line to results.tsv
run() {
    part=$1 name=$2 seed=$3 student=$4
    shift 4
    id=$part.$name.$seed
    grep -qs "^$part	$name	$seed	" results.tsv && return
    echo "$id" >&2
    "$baleen" distill train "$student" -o "runs/$id" --force --steps "$steps" --batch "$batch" --seed "$seed" --dtype f32 \
        -j "$threads" -q --eval eval.txt --eval-every "$eval_every" --log "runs/$id.jsonl" "$@" >/dev/null
    found=$(perplexity "runs/$id")
    printf '%s\t%s\t%s%s\n' "$part" "$name" "$seed" "$found" >>results.tsv
}

student() { # DIR options of init
    dir=students/$1
    shift
    [ -e "$dir/config.json" ] || "$baleen" distill init -o "$dir" "$@" --dtype f32 -q >/dev/null
}

# Its own perplexity, in windows of this length.
teachers() {
    grep -qs '^teacher	' results.tsv && return
    found=$(perplexity "$teacher")
    printf 'teacher\tteacher\t0%s\n' "$found" >>results.tsv
}

losses() {
    for seed in $seeds; do
        student "small.$seed" --random $small --seed "$seed" --tokenizer "$teacher"
        for loss in $losses; do
            how=$(options "$loss")
            run losses "$loss" "$seed" "students/small.$seed" --lr "$lr" $how
        done
    done
}

# A number of config.json
field() { sed -nE "s/.*\"$2\": *([0-9]+).*/\1/p" "$1/config.json" | head -n 1; }

starts() {
    [ -e teacher.st ] || "$baleen" calibrate "$teacher" --text "$texts/calib.txt" -o teacher.st -q >/dev/null
    student dense --teacher "$teacher" --experts "$experts" --stats teacher.st
    how=$(options sampled)
    d=students/dense
    before=$(perplexity $d)
    grep -qs '^start	' results.tsv || printf 'start\tfrom experts, untrained\t0%s\n' "$before" >>results.tsv
    for seed in $seeds; do
        student "random.$seed" --random --family deepseek --hidden "$(field $d hidden_size)" \
            --layers "$(field $d num_hidden_layers)" --heads "$(field $d num_attention_heads)" \
            --intermediate "$(field $d intermediate_size)" --q-lora "$(field $d q_lora_rank)" --kv-lora "$(field $d kv_lora_rank)" \
            --nope "$(field $d qk_nope_head_dim)" --rope "$(field $d qk_rope_head_dim)" --v "$(field $d v_head_dim)" \
            --seed "$seed" --tokenizer "$teacher"
        run starts "from experts" "$seed" students/dense --lr "$start_lr" $how
        run starts random "$seed" "students/random.$seed" --lr "$start_lr" $how
    done
}

table() {
    python3 "$here/distill_table.py" results.tsv runs curves.svg
}

teachers
for text in wiki code; do # whole lines of both, for the curves
    LC_ALL=C awk '{ n += length + 1 } n < 40000' "$texts/$text.eval.txt"
done >eval.txt
for part in $parts; do
    $part
done
