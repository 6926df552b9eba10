# Experts pruned: what is said, what is written, what it is compared with, and what is refused.
nano=$DATA/nano-r1
stats=$DATA/nano-r1.statistics.safetensors
cp "$DATA/text/wiki.eval.txt" held-out.txt
text=held-out.txt
# the last digits are those of this CPU's kernels
round() {
    sed -E 's/([0-9]+\.[0-9]{2})[0-9]+/\1/g'
}

echo "# written as a folder, a GGUF file and an archive, and measured"
"$BALEEN" prune "$nano" -o four --experts 4 --ungroup --stats "$stats" | head -2
"$BALEEN" inspect four | sed -n '2,8p'
"$BALEEN" verify four --against "$nano" | head -3
"$BALEEN" prune "$nano" -o four.gguf --experts 4 --ungroup --stats "$stats" --dtype f32 -q | tail -1
"$BALEEN" prune "$nano" -o four.bln --experts 4 --ungroup --stats "$stats" -q >/dev/null
"$BALEEN" verify four.bln --against four | sed -n '3p'
"$BALEEN" verify four.gguf --against "$nano" | head -3 | cut -c 1-200

echo "# a GGUF file is cut by bytes, in any type"
"$BALEEN" quantize "$nano" -o q.gguf --type q4_k_m -q >/dev/null
"$BALEEN" prune q.gguf -o q4.gguf --experts 4 --ungroup --method aimer | tail -1
"$BALEEN" verify q4.gguf --against q.gguf | head -3
"$BALEEN" prune q.gguf -o q4s.gguf --experts 4 --ungroup --method aimer --split 2MB -q >/dev/null
ls q4s*
"$BALEEN" verify q4s-00001-of-00002.gguf --against q4.gguf | sed -n '3p'

echo "# tried before it is written: the same numbers"
"$BALEEN" prune "$nano" --dry-run --experts 4 --ungroup --stats "$stats" --text "$text" --tokens 2048 --ctx 256 | round
"$BALEEN" verify four --against "$nano" --text "$text" --tokens 2048 --ctx 256 --structure-only |
    grep -E '^  (perplexity|reference|mean|same)' | cut -c 1-60 | round
"$BALEEN" prune "$nano" --dry-run --ungroup --stats "$stats" --text "$text" --tokens 1024 --ctx 128 \
    --method easy-ep,random --seeds 2 --sweep 0,0.5 --plot p.svg | cut -c 1-60 | round
head -c 40 p.svg
echo
"$BALEEN" prune "$nano" --dry-run --ungroup --text "$text" --tokens 1024 --ctx 128 | tail -1 | cut -c 1-60 | round
"$BALEEN" prune "$nano" --dry-run --ungroup --stats "$stats" --text "$text" --tokens 1024 --ctx 128 \
    --rank-layer 2 --method reap,frequency | sed -n '1,2p;$p' | cut -c 1-40 | round

echo "# layers, and again: original numbers"
"$BALEEN" prune four -o two --experts 2 --method random --drop-layers 0 -q >/dev/null
"$BALEEN" inspect two | grep -E '^(experts|pruned)'
"$BALEEN" inspect two --json | tr -d ' \n' | grep -o '"experts":\[null,[^}]*'
"$BALEEN" prune "$nano" -o l --drop-layers 1 --stats "$stats" --mtp drop | head -2
"$BALEEN" inspect l | grep -E '^(layers|pruned|its)'

echo "# refused"
"$BALEEN" prune "$nano" -o x --experts 6 --stats "$stats"
echo "exit $?"
"$BALEEN" prune "$nano" -o x --experts 4 --stats "$stats"
echo "exit $?"
"$BALEEN" prune "$nano" -o x --experts 1 --ungroup --stats "$stats"
echo "exit $?"
"$BALEEN" prune "$nano" -o x --experts 4 --ungroup
echo "exit $?"
"$BALEEN" prune "$nano" -o x --ungroup --experts-per-token 3
echo "exit $?"
"$BALEEN" prune four -o x --experts 2 --stats "$stats"
echo "exit $?"
"$BALEEN" quantize four -o x.gguf --type q4_0 --stats "$stats"
echo "exit $?"
"$BALEEN" prune "$DATA/toy-llama" -o x --experts 4 --method random
echo "exit $?"
"$BALEEN" prune "$nano" -o x
echo "exit $?"
"$BALEEN" prune "$nano" -o x --ratio 0.5 --ungroup --method magic
echo "exit $?"
"$BALEEN" prune "$nano" --ratio 0.5 --ungroup --method random
echo "exit $?"
"$BALEEN" prune "$nano" -o x --ratio 0.01 --stats "$stats"
echo "exit $?"
"$BALEEN" prune "$nano" -o x --experts 4294967300 --ungroup --stats "$stats"
echo "exit $?"
"$BALEEN" prune "$nano" -o x --dry-run --text "$text" --ratio 0.5 --ungroup --stats "$stats"
echo "exit $?"
"$BALEEN" prune "$nano" -o x --sweep 0.5 --method random
echo "exit $?"
"$BALEEN" prune "$nano" -o four --ungroup
echo "exit $?"
"$BALEEN" prune "$nano" -o "$nano" --ungroup --force
echo "exit $?"
ls
