# A wrong model is caught by name: what verify --against says of each way to spoil a checkpoint.
# Numbers are cut off; a difference in values alone is exit 0, quantization differs too.
spoil() {
    echo "== $1"
    python3 "$DATA/../cli/break.py" "$1" "$DATA/$2" spoiled || exit 9
    check spoiled "$DATA/$2"
    rm -rf spoiled
}
check() {
    "$BALEEN" verify "$1" --against "$2" >out 2>&1
    status=$?
    sed -n -e '/rel RMS  /d' -e 's/^ *[0-9.inf]* *[0-9.e+-]* *-*[0-9.]* *[0-9.-]*  \(model\.\)/  \1/p' \
        -e '/^ *looks\|^ *is all\|values differ$/p' -e '/^configuration/p' -e '/^  tensor/p' -e '/^baleen/p' out
    echo "exit $status"
}
for kind in experts-exchanged gate-and-up-exchanged expert-copied scale-block-one scales-one scaled \
    pairs-permuted rope-theta no-mscale router-softmax no-router-bias missing-scale; do
    spoil $kind nano-r1
done
for kind in qkv-bias-zero no-qkv-bias; do
    spoil $kind toy-qwen2
done
echo "== exchanged, then quantized"
python3 "$DATA/../cli/break.py" experts-exchanged "$DATA/nano-r1" spoiled
"$BALEEN" quantize spoiled -o x.gguf --type q4_0 >/dev/null
check x.gguf "$DATA/nano-r1"
echo "== numbers of the configuration differ: the text is measured all the same"
rm -rf spoiled
python3 "$DATA/../cli/break.py" no-mscale "$DATA/nano-r1" spoiled
"$BALEEN" verify spoiled --against "$DATA/nano-r1" --text "$DATA/text/wiki.eval.txt" --tokens 1024 >out 2>err
echo "exit $?"
grep -c 'ln of that ratio  *0\.[0-9]*[1-9]' out
cat err
