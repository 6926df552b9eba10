# A student learns from a teacher: what is said, written, gone on with, and refused.
nano=$DATA/nano-r1
cp "$DATA/text/wiki.eval.txt" held-out.txt
head -c 6000 "$DATA/text/wiki.eval.txt" >text.txt
# what learning made is that of this CPU's kernels; what it begins with, but for the last digits
round() {
    sed -E -e 's/^([a-z-]+ +)[0-9.]+(, at| of held)/\1X\2/' -e 's/([0-9]+\.[0-9])[0-9]+/\1/g'
}
# without the rate, which is that of this machine
steps() {
    sed -E 's/"tokens_per_s":[0-9.e+]+,?//; s/,}/}/' "$1"
}
"$BALEEN" distill init --random --family qwen2 --hidden 16 --layers 2 --heads 2 --kv-heads 1 --intermediate 32 --tie \
    --tokenizer "$nano" -o student -q >/dev/null
"$BALEEN" distill teach "$nano" --text text.txt -o cache --ctx 64 -q >/dev/null
options="student --cache cache --steps 24 --batch 4 --accumulate 2 --lr 0.01 --eval held-out.txt --eval-tokens 512
    --eval-every 8 --save-every 4"
train() {
    "$BALEEN" distill train $options "$@"
}

echo "# before: what it needs"
train -o out --dry-run -j 2
echo "# a training, and what it leaves"
train -o out --log log.jsonl | round
ls out
wc -l <log.jsonl
steps log.jsonl | cmp - out/train.jsonl
tail -1 out/train.jsonl | sed -E 's/([a-z_]":)[0-9]+\.[0-9e-]+/\1X/g'
awk -F'"eval_ppl":' 'NR == 1 { before = $2 + 0 } END { print ($2 + 0 < before / 3 ? "learned" : "did not learn") }' out/train.jsonl
sed -n '1,22p' out/README.md | sed -E 's/`[0-9a-f]{32}`/HASH/'
cmp student/tokenizer.json out/tokenizer.json
cmp student/config.json out/config.json
"$BALEEN" verify out | tail -2
echo "# another time: the same bytes"
train -o again -j 1 -q >/dev/null
for f in out/*; do cmp "$f" "again/${f#out/}"; done

echo "# interrupted, and gone on with: the same bytes"
status=0
while [ "$status" = 0 ]; do # until it is not done before the signal comes
    rm -rf cut cut.jsonl
    "$BALEEN" distill train $options -o cut --log cut.jsonl >/dev/null 2>stopped &
    while kill -0 $! 2>/dev/null && { [ ! -f cut.jsonl ] || [ "$(wc -l <cut.jsonl)" -lt 10 ]; }; do sleep 0.02; done
    kill -TERM $! 2>/dev/null || true
    { wait $! || status=$?; } 2>/dev/null # some shells say how it ended
done
echo "exit $status"
sed -E 's/[0-9]+/N/g' stopped
ls -d cut*
mkdir kept
cp -p cut.train.* kept
train -o cut || echo "exit $?"
train -o cut --resume --lr 0.02 2>&1 | sed -E 's/train.[01]/train.N/'
train -o cut --resume --log cut.jsonl -j 1 2>&1 >/dev/null | sed -E 's/[0-9]+/N/'
for f in out/*; do cmp "$f" "cut/${f#out/}"; done
steps cut.jsonl | cmp - out/train.jsonl
ls -d cut*

echo "# a damaged checkpoint is passed over"
rm -rf cut
cp -p kept/* .
newest=$(ls -t cut.train.* | head -1)
printf x | dd of="$newest" bs=1 seek=100000 conv=notrunc 2>/dev/null
train -o cut --resume 2>&1 >/dev/null | sed -E 's/[0-9]+/N/g'
for f in out/*; do cmp "$f" "cut/${f#out/}"; done
rm -rf cut
cp -p kept/* .
for f in cut.train.*; do echo "no checkpoint" >"$f"; done
train -o cut --resume || echo "exit $?"
rm cut.train.*

echo "# BF16 in training, F32 in the output; JSON"
train -o bf16 --weights bf16 --recompute --dtype f32 --steps 2 --schedule wsd --decay 0.5 --json | sed -n '2,6p' | cut -c 1-60
"$BALEEN" inspect bf16 | sed -n '2,6p'
grep -E 'rate|training \|' bf16/README.md

echo "# hidden states give every logit"
"$BALEEN" distill teach "$nano" --text text.txt -o hidden --ctx 64 --kind hidden -q >/dev/null
"$BALEEN" distill train student --cache hidden -o rkl --steps 1 --loss rkl --temperature 2 --ce 0.25 | head -1
"$BALEEN" distill train student --cache hidden -o jsd --steps 1 --loss jsd --beta 0.1 | head -1
"$BALEEN" distill train student --cache cache -o ce --epochs 0.5 --batch 2 --loss ce | sed -n '1,3p'

echo "# refused"
refuse() {
    "$BALEEN" distill train "$@" || echo "exit $?"
}
refuse student --cache cache -o x --loss rkl
refuse student --cache cache -o x --loss jsd
refuse student --cache cache -o x --temperature 2
refuse student --cache cache -o x --bucket
refuse student --cache cache -o out
refuse student --cache cache -o student --force
refuse student --cache cache -o x.gguf
refuse student --cache cache
refuse student -o x
refuse student --cache cache -o x --steps 1 --epochs 1
refuse student --cache cache -o x --steps 0
refuse student --cache cache -o x --loss other
refuse student --cache cache -o x --schedule other
refuse student --cache cache -o x --ce 1.5
refuse student --cache cache -o x --lr 0
refuse student --cache cache -o x --log log.jsonl
refuse student --cache cache -o x --steps 20 --lr 1e30 --clip 0 --warmup 0 -q 2>&1 | sed -E 's/step [0-9]+: .*;/step N: ...;/'
refuse "$nano" --cache cache -o x
refuse "$DATA/toy-qwen2" --cache cache -o x
refuse student --cache nothing -o x
"$BALEEN" distill init --random --family qwen2 --hidden 16 --layers 1 --heads 2 --intermediate 32 --tokenizer "$nano" \
    -o other -q >/dev/null
sed 's/"Ġanother": 2042/"ants": 2042/; s/"ants": 2043/"Ġanother": 2043/' "$nano/tokenizer.json" >other/tokenizer.json
refuse other --cache cache -o x
ls
