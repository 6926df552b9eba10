# One line of ids a line of text, and back; JSON for texts that are not lines.
printf 'Hello, world!\n\n 12345 caf\303\251\n' | "$BALEEN" tokenize "$DATA/nano-r1"
printf '"a\\nb"\n' | "$BALEEN" tokenize "$DATA/nano-r1" --json --bos
printf 'Hello, world!\n 12345 caf\303\251\n' | "$BALEEN" tokenize "$DATA/nano-r1" |
    "$BALEEN" tokenize "$DATA/nano-r1" --decode
printf '\377\n' | "$BALEEN" tokenize "$DATA/nano-r1"
echo "exit $?"
echo 1 2 99999 | "$BALEEN" tokenize "$DATA/nano-r1" --decode
echo "exit $?"
echo hi | "$BALEEN" tokenize "$DATA/text"
echo "exit $?"
# A GGUF file carries its tokenizer. Nothing else in it matters: tensors may be unknown or cut off.
"$BALEEN" convert "$DATA/nano-r1" -o nano.gguf >/dev/null
printf 'Hello, world!\n\n 12345 caf\303\251\n' | "$BALEEN" tokenize nano.gguf
echo '0 67 201 68' | "$BALEEN" tokenize nano.gguf --decode --json
python3 - <<'PY'
import struct

def string(s):
    return struct.pack("<Q", len(s)) + s.encode()

def vocabulary(name, model, pre, more=b"", n=0, tensor=b"", merge="a b", n_merges=1):
    pairs = [string("tokenizer.ggml." + k) + struct.pack("<I", 8) + string(v) for k, v in (("model", model), ("pre", pre))]
    letters = struct.pack("<IIQ", 9, 8, 3) + string("a") + string("b") + string("ab")
    merges = struct.pack("<IIQ", 9, 8, n_merges) + string(merge)
    pairs += [string("tokenizer.ggml.tokens") + letters, string("tokenizer.ggml.merges") + merges]
    open(name, "wb").write(b"GGUF" + struct.pack("<IQQ", 3, tensor != b"", len(pairs) + n) + b"".join(pairs) + more + tensor)

vocabulary("ab.gguf", "gpt2", "smollm")
vocabulary("tensor.gguf", "gpt2", "smollm", tensor=string("w") + struct.pack("<IQIQ", 1, 32, 999, 0))
vocabulary("merge.gguf", "gpt2", "smollm", merge="a c")
vocabulary("huge.gguf", "gpt2", "smollm", n_merges=1 << 60)
vocabulary("spm.gguf", "llama", "default")
vocabulary("pre.gguf", "gpt2", "kimi-k2")
vocabulary("bos.gguf", "gpt2", "gpt-2", string("tokenizer.ggml.bos_token_id") + struct.pack("<II", 4, 3), 1)
PY
for file in ab tensor spm pre bos merge huge; do
    echo "abab" | "$BALEEN" tokenize $file.gguf
    echo "exit $?"
done
