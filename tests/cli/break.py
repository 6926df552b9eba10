#!/usr/bin/env python3
"""break.py KIND FROM TO: a copy of the checkpoint FROM in the folder TO with one thing wrong."""
import json, os, shutil, struct, sys

FIRST = "model-00001-of-000003.safetensors"
SECOND = "model-00002-of-000003.safetensors"
WEIGHT = "model.layers.0.mlp.up_proj.weight"
SCALE = WEIGHT + "_scale_inv"


def load(path):
    blob = open(path, "rb").read()
    n = struct.unpack("<Q", blob[:8])[0]
    return json.loads(blob[8 : 8 + n]), blob[8 + n :]


def store(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


def edit_header(path, change):
    header, data = load(path)
    store(path, change(header) or header, data)


def put(path, name, offset, value):
    header, data = load(path)
    at = header[name]["data_offsets"][0] + offset
    store(path, header, data[:at] + value + data[at + len(value) :])


def edit_json(path, change):
    value = json.load(open(path))
    change(value)
    json.dump(value, open(path, "w"))


def move_end(header, by):
    header[WEIGHT]["data_offsets"][1] += by


def rename(header, old, new):
    header[new] = header.pop(old)


def twice(header):
    text = json.dumps(header, separators=(",", ":"))
    entry = json.dumps({WEIGHT: header[WEIGHT]}, separators=(",", ":"))[1:-1]
    return ("{" + entry + "," + text[1:]).encode()


def drop(folder, name):
    """Remove a tensor from its shard, closing the gap, and from the index."""
    header, data = load(f"{folder}/{FIRST}")
    begin, end = header.pop(name)["data_offsets"]
    for t in header.values():
        if t["data_offsets"][0] >= end:
            t["data_offsets"] = [x - (end - begin) for x in t["data_offsets"]]
    store(f"{folder}/{FIRST}", header, data[:begin] + data[end:])
    edit_json(f"{folder}/model.safetensors.index.json", lambda i: i["weight_map"].pop(name))


def main():
    kind, source, to = sys.argv[1:]
    shutil.copytree(source, to)
    first, index = f"{to}/{FIRST}", f"{to}/model.safetensors.index.json"
    if kind == "truncated-shard":
        os.truncate(first, os.path.getsize(first) - 1)
    elif kind == "overlap":
        edit_header(first, lambda h: move_end(h, 1))
    elif kind == "hole":
        edit_header(first, lambda h: move_end(h, -1))
    elif kind == "header-past-the-file":
        with open(first, "r+b") as f:
            f.write(struct.pack("<Q", 50_000_000))
    elif kind == "duplicate-name":
        edit_header(first, twice)
    elif kind == "nul-in-a-name":
        edit_header(first, lambda h: rename(h, WEIGHT, "model.layers.0.mlp.up\0proj.weight"))
    elif kind == "shape-overflow":
        edit_header(first, lambda h: h[WEIGHT].update(shape=[4294967296, 4294967296]))
    elif kind == "unknown-dtype":
        edit_header(first, lambda h: h[WEIGHT].update(dtype="F7_E3M3"))
    elif kind == "missing-shard":
        os.remove(f"{to}/{SECOND}")
    elif kind == "missing-scale":
        drop(to, SCALE)
    elif kind == "missing-tensor":
        drop(to, "model.layers.0.input_layernorm.weight")
    elif kind == "index-outside":
        edit_json(index, lambda i: i["weight_map"].update({WEIGHT: "../x.safetensors"}))
    elif kind == "nan-code":
        put(first, WEIGHT, 1000, b"\x7f")
    elif kind == "infinite-scale":
        put(first, SCALE, 4, struct.pack("<f", float("inf")))
    elif kind == "nan-scale":
        put(first, SCALE, 0, struct.pack("<f", float("nan")))
    elif kind == "no-config":
        os.remove(f"{to}/config.json")
    elif kind == "bad-config":
        open(f"{to}/config.json", "w").write('{"model_type": "deepseek_v3", ')
    elif kind == "other-shape":
        edit_json(f"{to}/config.json", lambda c: c.update(hidden_size=128))
    elif kind == "no-tokenizer":
        os.remove(f"{to}/tokenizer.json")
    else:
        sys.exit(f"no kind '{kind}'")


if __name__ == "__main__":
    main()
