#!/usr/bin/env python3
"""break.py KIND FROM TO: a copy of the checkpoint FROM in the folder TO with one thing wrong."""
import json, os, shutil, struct, sys

FIRST = "model-00001-of-000003.safetensors"
SECOND = "model-00002-of-000003.safetensors"
WEIGHT = "model.layers.0.mlp.up_proj.weight"
SCALE = WEIGHT + "_scale_inv"
EXPERT = "model.layers.1.mlp.experts.%d.%s.weight"


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


def shard_of(folder, name):
    index = f"{folder}/model.safetensors.index.json"
    if not os.path.exists(index):
        return f"{folder}/model.safetensors"
    return f"{folder}/" + json.load(open(index))["weight_map"][name]


def change(folder, name, function):
    """Replace the bytes of a stored tensor by as many that function(bytes) gives."""
    path = shard_of(folder, name)
    header, data = load(path)
    begin, end = header[name]["data_offsets"]
    new = function(data[begin:end])
    assert len(new) == end - begin
    store(path, header, data[:begin] + new + data[end:])


def value(folder, name):
    header, data = load(shard_of(folder, name))
    begin, end = header[name]["data_offsets"]
    return data[begin:end]


def exchange(folder, a, b):
    """Exchange the bytes of two weights and of their scales."""
    for suffix in "", "_scale_inv":
        old = value(folder, a + suffix), value(folder, b + suffix)
        change(folder, a + suffix, lambda _: old[1])
        change(folder, b + suffix, lambda _: old[0])


def halves(codes, n_cols, head, rope):
    """The rotary rows (the last of each head) as halves where they were pairs, or the reverse."""
    rows = [codes[i : i + n_cols] for i in range(0, len(codes), n_cols)]
    for h in range(0, len(rows), head):
        part = rows[h + head - rope : h + head]
        rows[h + head - rope : h + head] = part[0::2] + part[1::2]
    return b"".join(rows)


def times(factor):
    return lambda b: struct.pack(
        f"<{len(b) // 4}f", *(x * factor for x in struct.unpack(f"<{len(b) // 4}f", b))
    )


def drop(folder, name):
    """Remove a tensor from its shard, closing the gap, and from the index."""
    path = shard_of(folder, name)
    header, data = load(path)
    begin, end = header.pop(name)["data_offsets"]
    for t in header.values():
        if t.get("data_offsets", [-1])[0] >= end:  # not __metadata__
            t["data_offsets"] = [x - (end - begin) for x in t["data_offsets"]]
    store(path, header, data[:begin] + data[end:])
    index = f"{folder}/model.safetensors.index.json"
    if os.path.exists(index):
        edit_json(index, lambda i: i["weight_map"].pop(name))


def patch_gguf(source, to, key, at, value):
    """Write value at byte `at` behind a key of the metadata."""
    data = bytearray(open(source, "rb").read())
    begin = data.index(key) + len(key) + at
    data[begin : begin + len(value)] = value
    open(to, "wb").write(data)


def main():
    kind, source, to = sys.argv[1:]
    if kind == "gguf-eos":  # u32 type, u32 value
        return patch_gguf(source, to, b"tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 2048))
    if kind == "gguf-scores":  # a list that is not as long as the tokens
        return patch_gguf(source, to, b"tokenizer.ggml.merges", -6, b"scores")
    if kind == "gguf-type":  # array of i32: type, type of members, length, members
        return patch_gguf(source, to, b"tokenizer.ggml.token_type", 16, struct.pack("<i", 9))
    if kind == "gguf-model":  # string: type, length, bytes
        return patch_gguf(source, to, b"tokenizer.ggml.model", 12, b"bert")
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
    elif kind == "zeros":
        change(to, EXPERT % (3, "up_proj"), lambda b: bytes(len(b)))
    elif kind == "outlier":
        put(shard_of(to, SCALE), SCALE, 4, struct.pack("<f", 1e4))
    elif kind == "no-config":
        os.remove(f"{to}/config.json")
    elif kind == "bad-config":
        open(f"{to}/config.json", "w").write('{"model_type": "deepseek_v3", ')
    elif kind == "other-shape":
        edit_json(f"{to}/config.json", lambda c: c.update(hidden_size=128))
    elif kind == "experts-exchanged":
        for part in "gate_proj", "up_proj", "down_proj":
            exchange(to, EXPERT % (3, part), EXPERT % (6, part))
    elif kind == "gate-and-up-exchanged":
        exchange(to, EXPERT % (2, "gate_proj"), EXPERT % (2, "up_proj"))
    elif kind == "expert-copied":
        for suffix in "", "_scale_inv":
            new = value(to, EXPERT % (4, "up_proj") + suffix)
            change(to, EXPERT % (5, "up_proj") + suffix, lambda _: new)
    elif kind == "scale-block-one":
        put(shard_of(to, SCALE), SCALE, 4, struct.pack("<f", 1.0))
    elif kind == "scales-one":
        change(to, SCALE, lambda b: struct.pack("<f", 1.0) * (len(b) // 4))
    elif kind == "scaled":
        change(to, SCALE, times(1.01))
    elif kind == "pairs-permuted":
        change(to, "model.layers.1.self_attn.q_b_proj.weight", lambda b: halves(b, 128, 48, 16))
    elif kind == "rope-theta":
        edit_json(f"{to}/config.json", lambda c: c.update(rope_theta=20000))
    elif kind == "no-mscale":
        edit_json(f"{to}/config.json", lambda c: c["rope_scaling"].pop("mscale_all_dim"))
    elif kind == "router-softmax":
        edit_json(f"{to}/config.json", lambda c: c.update(scoring_func="softmax"))
    elif kind == "no-router-bias":
        drop(to, "model.layers.1.mlp.gate.e_score_correction_bias")
    elif kind == "qkv-bias-zero":
        change(to, "model.layers.0.self_attn.q_proj.bias", lambda b: bytes(len(b)))
    elif kind == "no-qkv-bias":
        drop(to, "model.layers.0.self_attn.q_proj.bias")
    elif kind == "other-end":
        edit_json(f"{to}/generation_config.json", lambda g: g.update(eos_token_id=5))
    elif kind == "id-past-the-vocabulary":
        edit_json(f"{to}/generation_config.json", lambda g: g.update(pad_token_id=2048))
    elif kind == "bad-tokenizer-config":
        open(f"{to}/tokenizer_config.json", "w").write('{"bos_token": ')
    elif kind == "stray-shard":
        shutil.copy(first, f"{to}/model-00004-of-000004.safetensors")
    elif kind == "stale-total":
        edit_json(index, lambda i: i["metadata"].update(total_size=12345))
    elif kind == "no-tokenizer":
        os.remove(f"{to}/tokenizer.json")
    else:
        sys.exit(f"no kind '{kind}'")


if __name__ == "__main__":
    main()
