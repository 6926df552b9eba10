# A GGUF file becomes another one, tensor by tensor as it lies there, and a folder, with the files beside the weights.
# Rotary divisors that are none are refused; how latent attention was stored before is read.
"$BALEEN" convert "$DATA/nano-r1" -o a.gguf --dtype f32 >/dev/null
"$BALEEN" convert a.gguf -o same.gguf --dtype f32
cmp a.gguf same.gguf && echo "an F32 file is its own twin"
"$BALEEN" convert "$DATA/nano-r1" -o bf16.gguf >/dev/null
"$BALEEN" convert a.gguf -o b.gguf --dtype bf16 >/dev/null
cmp bf16.gguf b.gguf && echo "and in BF16 that of the original"
"$BALEEN" quantize "$DATA/nano-r1" -o q4.gguf --type q4_0 >/dev/null
"$BALEEN" convert q4.gguf -o twin.gguf --dtype f32
"$BALEEN" verify twin.gguf --against q4.gguf
rm same.gguf bf16.gguf b.gguf q4.gguf twin.gguf
"$BALEEN" quantize "$DATA/nano-r1" -o c.gguf --type q8_0 >/dev/null
"$BALEEN" quantize a.gguf -o d.gguf --type q8_0 >/dev/null
cmp c.gguf d.gguf && echo "quantized, the same bytes"
rm c.gguf d.gguf
"$BALEEN" convert a.gguf -o b | tail -1
"$BALEEN" convert b -o c.gguf --dtype f32 -q >/dev/null && cmp a.gguf c.gguf && echo "and back, the same file"
cat b/config.json b/generation_config.json b/tokenizer_config.json
ls b
"$BALEEN" quantize a.gguf -o d --type int4 | tail -1
"$BALEEN" verify d | tail -1
# the MTP layer: kept as nextn tensors, and found again
"$BALEEN" convert "$DATA/nano-r1" -o mtp.gguf --dtype f32 --mtp keep | tail -1
"$BALEEN" convert mtp.gguf -o mtp | tail -1
"$BALEEN" verify mtp --against "$DATA/nano-r1" | tail -1
"$BALEEN" convert mtp.gguf -o none --mtp drop | tail -1
rm -r b c.gguf d mtp.gguf mtp none
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
pairs.append(string("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5))
tensor = string("rope_freqs.weight") + struct.pack("<IQIQ", 1, 16, 0, 0)
head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
open("llama3.gguf", "wb").write(head + bytes(-len(head) % 32) + bytes(64))
PY
"$BALEEN" inspect llama3.gguf
echo "exit $?"
"$BALEEN" verify "$DATA/gguf/toy-mla-whole.gguf" --against "$DATA/toy-mla"
"$BALEEN" convert "$DATA/gguf/toy-llama.gguf" -o toy.gguf --dtype f32
"$BALEEN" verify toy.gguf --against "$DATA/toy-llama"
ls
