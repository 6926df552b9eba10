# A gate that is kept is exit 0, one that is exceeded exit 3; the numbers are printed either way.
text=$DATA/text/wiki.eval.txt
"$BALEEN" quantize "$DATA/nano-r1" -o x.gguf --type q4_0 >/dev/null
"$BALEEN" verify x.gguf --against "$DATA/nano-r1" --text "$text" --tokens 2048 --max-kld 0.01 >/dev/null
echo "exit $?"
"$BALEEN" verify x.gguf --against "$DATA/nano-r1" --text "$text" --tokens 2048 --max-kld 0.0001 \
    >out 2>err
echo "exit $?"
grep -c 'KL divergence  mean 0.00' out
sed 's/[0-9.]* exceeds/N exceeds/' err
"$BALEEN" verify x.gguf --against "$DATA/nano-r1" --text "$text" --tokens 512
echo "exit $?"
"$BALEEN" verify x.gguf --max-kld 1
echo "exit $?"
"$BALEEN" verify x.gguf --text "$text"
echo "exit $?"
