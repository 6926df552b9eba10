# A gate that is kept is exit 0, one that is exceeded exit 3; the numbers are printed either way.
text=$DATA/text/wiki.eval.txt
"$BALEEN" quantize "$DATA/nano-r1" -o x.gguf --type q4_0 >/dev/null
judge() {
    "$BALEEN" verify x.gguf --against "$DATA/nano-r1" --text "$text" --tokens 2048 "$@" \
        >out 2>err
    echo "exit $?"
    sed 's/[0-9.]* \(exceeds\|is below\)/N \1/g' err
}
judge --max-kld 0.01 --max-ppl-ratio 1.02 --min-same-top 0.9
sed -n '/^gates/,$s/ [0-9.]*,/ N,/p' out
judge --max-kld 0.0001
grep -c 'mean KL divergence, nats  *0\.00' out
judge --max-kld 0.0001 --max-ppl-ratio 0.5 --min-same-top 1
sed -n '/^gates/,$s/ [0-9.]*,/ N,/p' out
judge --max-kld 0.01 --max-ppl-ratio 0.5 --json
sed -n '/"gates"/,$s/"value": .*/"value": N,/;/"gates"/,$p' out
"$BALEEN" verify "$DATA/nano-r1" --against "$DATA/nano-r1" --text "$text" --tokens 1024 \
    --max-kld 0 --max-ppl-ratio 1 --min-same-top 1 >out
echo "exit $?"
# the perplexity's last digit is the processor's
sed '1,6d;s/\(perplexity  *[0-9]*\.[0-9]\{4\}\)[0-9]*/\1../' out
"$BALEEN" verify x.gguf --against "$DATA/nano-r1" --text "$text" --tokens 512
echo "exit $?"
for gate in max-kld max-ppl-ratio min-same-top; do
    "$BALEEN" verify x.gguf --$gate 1
    echo "exit $?"
done
"$BALEEN" verify x.gguf --text "$text" --min-same-top 0.9
echo "exit $?"
"$BALEEN" verify x.gguf --against "$DATA/nano-r1" --text "$text" --min-same-top 95
echo "exit $?"
"$BALEEN" verify x.gguf --text "$text" --tokens 2048 | grep -c 'perplexity'
cp "$DATA/nano-r1/config.json" "$DATA"/nano-r1/*.safetensors* .
"$BALEEN" verify . --text "$text"
echo "exit $?"
