# A GGUF file becomes another one, never a folder; rotary divisors that would be ignored are refused.
"$BALEEN" convert "$DATA/nano-r1" -o a.gguf --dtype f32 >/dev/null
"$BALEEN" convert a.gguf -o b.gguf --dtype f32 >/dev/null
cmp a.gguf b.gguf && echo "the same bytes"
"$BALEEN" quantize "$DATA/nano-r1" -o c.gguf --type q8_0 >/dev/null
"$BALEEN" quantize a.gguf -o d.gguf --type q8_0 >/dev/null
cmp c.gguf d.gguf && echo "the same bytes"
"$BALEEN" convert a.gguf -o b --dtype f32
echo "exit $?"
"$BALEEN" quantize a.gguf -o b --type int4
echo "exit $?"
python3 - <<'PY'
import struct

def string(s):
    return struct.pack("<Q", len(s)) + s.encode()

def number(key, value):
    return string("llama." + key) + struct.pack("<II", 4, value)

pairs = [string("general.architecture") + struct.pack("<I", 8) + string("llama")]
for key in ("context_length", "embedding_length", "feed_forward_length", "vocab_size"):
    pairs.append(number(key, 64))
pairs += [number("block_count", 1), number("attention.head_count", 2)]
tensor = string("rope_freqs.weight") + struct.pack("<IQIQ", 1, 16, 0, 0)
head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
open("llama3.gguf", "wb").write(head + bytes(-len(head) % 32) + bytes(64))
PY
"$BALEEN" inspect llama3.gguf
echo "exit $?"
ls
