# The exit codes of verify: 1 what does not open, 3 what opens and is wrong, 0 what is whole.
nano=$DATA/nano-r1
# What depends on the version of zstd is cut out of what is said of a .bln.
verify() {
    "$BALEEN" verify "$@" >out 2>&1
    status=$?
    sed -e 's/bln, [0-9.]* MB, [0-9.]* bits/bln, N MB, N bits/' -e "s/tensor '[^']*': damaged/tensor T: damaged/" \
        -e 's/damaged: zstd.*/damaged/' -e 's/should have [0-9]*/should have N/' out
    echo "exit $status"
}
# Turn over one bit of byte $1 (from the end when negative) of whole.bln in bad.bln.
flip() {
    python3 - "$1" <<'PYTHON'
import sys
data = bytearray(open("whole.bln", "rb").read())
data[int(sys.argv[1])] ^= 1
open("bad.bln", "wb").write(data)
PYTHON
}
"$BALEEN" convert "$nano" -o whole.bln >/dev/null
echo "== a whole .bln"
verify whole.bln
for at in 3000000 5000; do
    echo "== a bit of byte $at of a .bln"
    flip $at
    verify bad.bln
done
verify bad.bln --against "$nano"
flip 3000000
echo "== damage in the reference"
verify "$nano" --against bad.bln
echo "== in the index, the first block and the last, cut off"
flip -5000
verify bad.bln
flip 100
verify bad.bln
flip -100
verify bad.bln
head -c 1000000 whole.bln >bad.bln
verify bad.bln
rm -f bad.bln whole.bln
for kind in nan-code infinite-scale missing-tensor; do
    echo "== $kind"
    python3 "$DATA/../cli/break.py" $kind "$nano" bad
    verify bad
    verify bad --against "$nano"
    [ $kind = missing-tensor ] || verify "$nano" --against bad
    rm -rf bad
done
for kind in truncated-shard missing-shard missing-scale other-shape bad-config no-config; do
    echo "== $kind"
    python3 "$DATA/../cli/break.py" $kind "$nano" bad
    verify bad
    rm -rf bad
done
for kind in other-end id-past-the-vocabulary bad-tokenizer-config stray-shard stale-total; do
    echo "== $kind"
    python3 "$DATA/../cli/break.py" $kind "$nano" bad
    verify bad
    rm -rf bad
done
echo "== a tokenizer that cannot be read, and a text, and items"
python3 "$DATA/../cli/break.py" bad-tokenizer-config "$nano" bad
verify bad --text "$DATA/text/wiki.eval.txt"
verify bad --choices "$DATA/choices/domain.jsonl"
rm -rf bad
echo "== a GGUF file that ends on no token; with too few scores, a type that is none, a foreign tokenizer"
"$BALEEN" quantize "$nano" -o whole.gguf --type q8_0 >/dev/null
verify whole.gguf
for kind in gguf-eos gguf-scores gguf-type gguf-model; do
    python3 "$DATA/../cli/break.py" $kind whole.gguf bad.gguf
    verify bad.gguf
    rm bad.gguf
done
