# Every way in which a checkpoint can be wrong: one clear sentence, exit 1 or 2, no output left.
# quantize decodes everything; what only values show (NaN codes, scales) it finds on the way.
for kind in truncated-shard overlap hole header-past-the-file duplicate-name nul-in-a-name \
    shape-overflow unknown-dtype missing-shard missing-scale missing-tensor index-outside nan-code \
    infinite-scale nan-scale no-config bad-config other-shape no-tokenizer; do
    python3 "$DATA/../cli/break.py" $kind "$DATA/nano-r1" $kind
    find $kind -type f -exec cksum {} + | sort >before
    echo "== $kind"
    "$BALEEN" quantize $kind -o x.gguf --type q8_0 2>&1
    echo "exit $?"
    find $kind -type f -exec cksum {} + | sort | cmp - before
    rm -rf $kind before
    ls
done
