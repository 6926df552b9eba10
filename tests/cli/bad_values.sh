# Values that are no numbers are found by every command that reads them.
for kind in nan-code infinite-scale; do
    python3 "$DATA/../cli/break.py" $kind "$DATA/nano-r1" $kind
    echo "== $kind"
    "$BALEEN" convert $kind -o x.bln 2>&1
    echo "convert to .bln: exit $?"
    rm -f x.bln
    "$BALEEN" convert $kind -o x.bln --strict 2>&1
    echo "convert to .bln --strict: exit $?"
    "$BALEEN" quantize $kind -o x --type int4 2>&1
    echo "quantize to a folder: exit $?"
    "$BALEEN" verify $kind
    echo "verify: exit $?"
    ls
    rm -rf $kind
done
for kind in zeros outlier; do
    python3 "$DATA/../cli/break.py" $kind "$DATA/nano-r1" $kind
    echo "== $kind"
    "$BALEEN" convert $kind -o x.gguf 2>&1 >/dev/null
    "$BALEEN" convert $kind -o y.gguf --strict 2>&1 >/dev/null
    echo "convert to .gguf --strict: exit $?"
    "$BALEEN" convert $kind -o x.bln 2>&1 >/dev/null
    ls
    rm -rf $kind x.gguf x.bln
done
