# Students: from random numbers, from a teacher, from a folder that is there; and what is refused.
nano=$DATA/nano-r1
stats=$DATA/nano-r1.statistics.safetensors
random() {
    "$BALEEN" distill init --random --tokenizer "$nano" --layers 2 --heads 4 --hidden 64 --intermediate 96 "$@"
}

echo "# random numbers, the same for any number of threads"
random -o q --family qwen2 --kv-heads 2 --tie
random -o q1 --family qwen2 --kv-heads 2 --tie -j 1 | head -2
random -o q2 --family qwen2 --kv-heads 2 --tie --seed 2 -j 1 | head -2
cmp q/model.safetensors q1/model.safetensors && echo "-j 1: the same"
cmp -s q/model.safetensors q2/model.safetensors || echo "--seed 2: others"
ls q
cmp q/tokenizer.json "$nano/tokenizer.json"
random -o d --family deepseek --q-lora 32 --kv-lora 32 --nope 16 --rope 16 --v 16 --dtype f32 | head -3
grep -E 'dtype|experts|first_k' d/config.json
"$BALEEN" verify d | head -2
random -o n --family llama --dry-run --dtype f32 | grep -E '^(student|random|n:|files)'
random -o lite --family deepseek --kv-lora 32 --nope 16 --rope 16 --v 16 --dry-run >/dev/null

echo "# a teacher's experts as one FFN"
"$BALEEN" distill init -o e --teacher "$nano" --experts 2 --stats "$stats"
grep -E 'layers|intermediate|first_k|nextn|quantization|dtype' e/config.json
"$BALEEN" verify e | head -2
"$BALEEN" convert e -o e.gguf --dtype f32 -q | head -1
"$BALEEN" distill init -o s --teacher "$nano" --experts 1 --stats "$stats" --method reap --scale mean \
    --keep-layers 2 --hidden 192 --intermediate 384 --dtype f32 | head -5
"$BALEEN" distill init -o s1 --teacher "$nano" --experts 1 --stats "$stats" --method reap --scale mean \
    --keep-layers 0,2 --hidden 192 --intermediate 384 --dtype f32 -j 1 >/dev/null
cmp s/model.safetensors s1/model.safetensors && echo "-j 1: the same"
"$BALEEN" distill init -o w --teacher s --hidden 64 --intermediate 100 | head -4

echo "# a folder that is there"
"$BALEEN" distill init -o f --from q --teacher "$nano" | head -2
cmp f/model.safetensors q/model.safetensors && echo "the same weights"
sed 's/<think>/<thunk>/' q/tokenizer.json >t && mv t q/tokenizer.json
"$BALEEN" distill init -o g --from q --teacher "$nano"
echo "exit $?"

echo "# refused"
"$BALEEN" distill init -o x --from "$nano"
echo "exit $?"
"$BALEEN" distill init -o x
echo "exit $?"
"$BALEEN" distill init -o x --teacher "$nano"
echo "exit $?"
"$BALEEN" distill init -o x --teacher "$nano" --experts 2
echo "exit $?"
"$BALEEN" distill init -o x --teacher s --stats "$stats" --hidden 64
echo "exit $?"
"$BALEEN" distill init -o x --teacher "$nano" --experts 2 --stats "$stats" --keep-layers 4
echo "exit $?"
"$BALEEN" distill init -o x --teacher "$nano" --experts 2 --stats "$stats" --layers 2
echo "exit $?"
"$BALEEN" distill init -o x --random --teacher "$nano" --family llama
echo "exit $?"
random -o q --family llama
echo "exit $?"
random -o x --family mamba
echo "exit $?"
"$BALEEN" distill init -o x.gguf --from s
echo "exit $?"
ls
