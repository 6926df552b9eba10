# Names that act on a terminal, or are not UTF-8, are shown harmless; JSON is good UTF-8 always.
python3 - <<'PY'
import json, struct

header = json.dumps({"red\u202e": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})
with open(b"bad\x1b\xff name.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(header)) + header.encode() + b"\0")
PY
"$BALEEN" inspect bad*.safetensors --tensors | cat -v
"$BALEEN" inspect bad*.safetensors --tensors --json | tee out | cat -v
python3 -c 'import json; print(ascii(json.load(open("out", encoding="utf-8"))["path"]))'
echo 201 250 | "$BALEEN" tokenize "$DATA/nano-r1" --decode --json | cat -v
