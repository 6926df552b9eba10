#!/usr/bin/env python3
"""Write every file of this folder, expected.tsv (what the unit test compares) and README.md (why each
file is what it is). Knows the formats from docs/format-stats.md and the GGUF specification only.

    make.py              writes
    make.py --check      writes nothing, fails when a file differs

A case is (name, what the sentence must say, why, bytes). The first word of the name is the verdict.
"""
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NAN = float("nan")
HASH = "0123456789abcdef" * 2
META = {"format": "baleen.stats", "version": "1", "identity": HASH, "fingerprint": HASH, "text": HASH,
        "token_ids": HASH, "tokens": "20", "ctx": "10", "layers": "2", "heads": "2", "parts": "1/1"}


def f32(*v, shape=None):
    return "F32", shape or [len(v)], struct.pack(f"<{len(v)}f", *v)


def f64(*v, shape=None):
    return "F64", shape or [len(v)], struct.pack(f"<{len(v)}d", *v)


def i64(*v):
    return "I64", [len(v)], struct.pack(f"<{len(v)}q", *v)


TENSORS = {
    "layers.0.attention_input": f32(1, 2, 3), "layers.0.attention_input.count": i64(20),
    "layers.0.ffn_inner": f32(0, 0.5), "layers.0.ffn_inner.count": i64(20),
    "layers.0.angle": f64(2.5),
    "layers.1.attention_input": f32(1, 2, 3), "layers.1.attention_input.count": i64(20),
    "layers.1.expert_input": f32(1, 2, 3, 4, 5, 6, shape=[2, 3]), "layers.1.expert_input.count": i64(30, 10),
    "layers.1.expert_inner": f32(1, 2, 3, 4, shape=[2, 2]), "layers.1.expert_inner.count": i64(30, 10),
    "layers.1.experts_input": f32(1.75, 2.75, 3.75), "layers.1.experts_input.count": i64(40),
    "layers.1.experts_inner": f32(1.5, 2.5), "layers.1.experts_inner.count": i64(40),
    "layers.1.saliency": f64(*range(12), shape=[2, 6]), "layers.1.angle": f64(3.5),
    "final": f32(7, 8, 9), "final.count": i64(20),
}


def write(meta=None, drop=(), drop_meta=(), **put):
    """META and TENSORS with changes; `put`: names with "__" for "." to tensors."""
    meta = {**META, **(meta or {})}
    tensors = {**TENSORS, **{k.replace("__", "."): v for k, v in put.items()}}
    header = {"__metadata__": {k: v for k, v in meta.items() if k not in drop_meta}}
    data = b""
    for name, (dtype, shape, body) in tensors.items():
        if name not in drop:
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(body)]}
            data += body
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def string(s):
    return struct.pack("<Q", len(s)) + s.encode()


def gguf(tensors, kind="imatrix", size=10, count=2, size_type=4):
    kv = [string("general.type") + struct.pack("<i", 8) + string(kind),
          string("imatrix.chunk_count") + struct.pack("<iI", 4, count),
          string("imatrix.chunk_size") + struct.pack("<i", size_type) + (struct.pack("<I", size) if size_type == 4 else string("10"))]
    infos, data = b"", b""
    for name, (shape, values, ggml) in tensors.items():
        infos += string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in reversed(shape))
        infos += struct.pack("<iQ", ggml, len(data))
        body = struct.pack(f"<{len(values)}f", *values) if ggml == 0 else struct.pack(f"<{len(values)}e", *values)
        data += body + bytes(-len(body) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(kv)) + b"".join(kv) + infos
    return head + bytes(-len(head) % 32) + data


def weight(name, shape, values, counts, ggml=0):
    return {name + ".in_sum2": (shape, values, ggml), name + ".counts": ([len(counts), 1] if len(counts) > 1 else [1], counts, 0)}


IMATRIX = {**weight("blk.0.attn_q.weight", [3], [20, 40, 60], [20]), **weight("blk.0.ffn_down.weight", [2], [0, 10], [20]),
           **weight("blk.1.ffn_gate_exps.weight", [2, 3], [30, 60, 90, 40, 50, 60], [30, 10]),
           **weight("blk.1.ffn_down_exps.weight", [2, 2], [30, 60, 0, 0], [30, 0])}



def less(*names):
    return {k: v for k, v in IMATRIX.items() if k not in names}


ROLES = {"sensitivity_roles": "attention,routed expert"}
CASES = [
    ("good-stats", "", "a dense layer and one with two experts", write()),
    ("good-merged", "", "parts 1 and 3 of 4", write({"parts": "1,3/4"})),
    ("good-sensitivity", "", "a table of sensitivities", write(ROLES, sensitivity=f64(1, 2, 3, -4, shape=[2, 2]))),
    ("good-converted", "", "out of an imatrix: no hashes, counts of their own", write(drop_meta=("identity", "fingerprint", "text", "token_ids"), final__count=i64(7))),
    ("good-no-extras", "", "neither saliencies nor angles", write(drop=("layers.0.angle", "layers.1.angle", "layers.1.saliency"))),
    ("good-imatrix", "", "an imatrix; an expert without tokens", gguf(IMATRIX)),
    ("good-imatrix-more", "", "a weight that we do not know", gguf({**IMATRIX, **weight("blk.0.ssm_in.weight", [2], [1, 2], [1])})),

    ("bad-empty", "too few for a safetensors file", "no byte at all", b""),
    ("bad-other-safetensors", "no calibration statistics", "a checkpoint's metadata", write(drop_meta=tuple(META), meta={"format": "pt"})),
    ("bad-format", "no calibration statistics", "another format", write({"format": "pt"})),
    ("bad-no-version", "no version", "no version", write(drop_meta=("version",))),
    ("bad-version-zero", "no version", "version 0", write({"version": "0"})),
    ("bad-key", "unknown key 'path'", "a key that version 1 does not have", write({"path": "x"})),
    ("bad-hash-short", "'identity' is not 32", "31 digits", write({"identity": HASH[1:]})),
    ("bad-hash-case", "'text' is not 32", "capital digits", write({"text": HASH.upper()})),
    ("bad-hash-missing", "'fingerprint' is not 32", "one hash of four is missing", write(drop_meta=("fingerprint",))),
    ("bad-tokens", "'tokens' is not a number", "a sign", write({"tokens": "-20"})),
    ("bad-tokens-zero-first", "'tokens' is not a number", "a leading zero", write({"tokens": "020"})),
    ("bad-tokens-large", "'tokens' is not a number", "2^63", write({"tokens": str(2**63)})),
    ("bad-ctx", "'ctx' is not a number", "no number", write({"ctx": ""})),
    ("bad-layers-none", "'layers' is not a number from 1", "no layer", write({"layers": "0"})),
    ("bad-layers-many", "are none for 60000 layers", "more layers than tensors", write({"layers": "60000"})),
    ("bad-layers-most", "'layers' is not a number", "more than any model has", write({"layers": "4294967295"})),
    ("bad-parts-order", "'parts' is not ascending", "3 before 1", write({"parts": "3,1/4"})),
    ("bad-parts-twice", "'parts' is not ascending", "a part twice", write({"parts": "1,1/4"})),
    ("bad-parts-past", "'parts' is not ascending", "part 5 of 4", write({"parts": "5/4"})),
    ("bad-parts-zero", "'parts' is not ascending", "part 0", write({"parts": "0/4"})),
    ("bad-parts-many", "'parts' is not ascending", "more parts than there may be", write({"parts": "1/4097"})),
    ("bad-parts-end", "'parts' is not ascending", "something behind it", write({"parts": "1/4,"})),
    ("bad-parts-comma", "'parts' is not ascending", "a comma too many", write({"parts": "1,/4"})),
    ("bad-name", "is none of the statistics", "a tensor of no site", write(layers__0__weights=f32(1))),
    ("bad-name-outside", "is none of the statistics", "nor outside the layers", write(weights=f32(1))),
    ("bad-name-long", "is none of the statistics", "a very long name", write(**{"layers__0__" + 200 * "x": f32(1)})),
    ("bad-suffix", "is none of the statistics", "a suffix that is not .count", write(layers__0__ffn_inner__sum=f32(1))),
    ("bad-layer-past", "is of no layer", "layer 2 of 2", write(layers__2__ffn_inner=f32(1))),
    ("bad-layer-zeros", "is of no layer", "layer 00", write(layers__00__ffn_inner=f32(1))),
    ("bad-layer-overflow", "is of no layer", "layer 2^64", write(**{f"layers__{2**64}__ffn_inner": f32(1)})),
    ("bad-layer-none", "is of no layer", "no number", write(**{"layers__x__ffn_inner": f32(1)})),
    ("bad-final-in-layer", "is of no layer", "the final norm in a layer", write(layers__0__final=f32(1), layers__0__final__count=i64(20))),
    ("bad-site-outside", "is of no layer", "a layer's site outside", write(ffn_inner=f32(1), ffn_inner__count=i64(20))),
    ("bad-mean-type", "not a vector or a matrix of F32", "means in F64", write(layers__0__ffn_inner=f64(0, 0.5))),
    ("bad-mean-shape", "not a vector or a matrix of F32", "a matrix where a vector belongs", write(layers__0__ffn_inner=f32(0, 0.5, shape=[1, 2]))),
    ("bad-mean-empty", "not a vector or a matrix of F32", "no channel", write(layers__0__ffn_inner=f32(shape=[0]))),
    ("bad-expert-vector", "not a vector or a matrix of F32", "a vector for experts", write(layers__1__expert_inner=f32(1, 2, 3, 4))),
    ("bad-count-type", "is not a vector of I64", "counts in F64", write(layers__0__ffn_inner__count=f64(20))),
    ("bad-count-missing", "'ffn_inner' and its counts", "no counts", write(drop=("layers.0.ffn_inner.count",))),
    ("bad-count-alone", "'ffn_inner' and its counts", "counts of nothing", write(drop=("layers.0.ffn_inner",))),
    ("bad-count-rows", "'expert_input' and its counts", "three counts for two experts", write(layers__1__expert_input__count=i64(30, 5, 5))),
    ("bad-count-negative", "tokens of 'ffn_inner'", "-1 tokens", write(layers__0__ffn_inner__count=i64(-1))),
    ("bad-count-other", "tokens of 'final'", "19 tokens of 20", write(final__count=i64(19))),
    ("bad-count-large", "contradict each other", "counts whose sum passes 2^63", write(layers__1__expert_input__count=i64(2**63 - 1, 2**63 - 1))),
    ("bad-experts-sum", "contradict each other", "the mean over all pairs has other pairs", write(layers__1__experts_input__count=i64(41))),
    ("bad-experts-missing", "contradict each other", "no mean over all pairs", write(drop=("layers.1.experts_inner", "layers.1.experts_inner.count"))),
    ("bad-experts-alone", "contradict each other", "nothing but the mean over all pairs", write(drop=("layers.1.expert_inner", "layers.1.expert_inner.count"))),
    ("bad-experts-number", "contradict each other", "three experts here, two there", write(
        layers__1__expert_inner=f32(1, 2, 3, 4, 5, 6, shape=[3, 2]), layers__1__expert_inner__count=i64(30, 10, 0))),
    ("bad-saliency-type", "not F64 of experts x 6", "F32", write(layers__1__saliency=f32(*range(12), shape=[2, 6]))),
    ("bad-saliency-cols", "not F64 of experts x 6", "five columns", write(layers__1__saliency=f64(*range(10), shape=[2, 5]))),
    ("bad-saliency-rows", "saliencies of other experts", "one expert of two", write(layers__1__saliency=f64(*range(6), shape=[1, 6]))),
    ("bad-saliency-dense", "saliencies of other experts", "in a layer without experts", write(layers__0__saliency=f64(*range(6), shape=[1, 6]))),
    ("bad-angle-shape", "is not one F64", "two angles", write(layers__0__angle=f64(1, 2))),
    ("bad-angle-alone", "an angle of no tokens", "nothing says of how many tokens", write(drop=("layers.0.attention_input", "layers.0.attention_input.count"))),
    ("bad-sensitivity-no-roles", "layers x the roles", "no names of roles", write(sensitivity=f64(1, 2, shape=[1, 2]))),
    ("bad-sensitivity-cols", "layers x the roles", "three columns for two roles", write(ROLES, sensitivity=f64(1, 2, 3, shape=[1, 3]))),
    ("bad-sensitivity-none", "no table of them", "roles alone", write(ROLES)),
    ("bad-sensitivity-role", "has no name", "an empty name", write({"sensitivity_roles": "a,,b"}, sensitivity=f64(1, 2, 3, shape=[1, 3]))),
    ("bad-sensitivity-many", "257 roles", "more roles than there may be", write({"sensitivity_roles": ",".join("r" * 257)})),
    ("bad-truncated", "truncated", "one byte is missing", write()[:-1]),
    ("bad-imatrix-type", "no imatrix", "a model", gguf(IMATRIX, kind="model")),
    ("bad-imatrix-size", "imatrix.chunk_size", "a chunk size that is a string", gguf(IMATRIX, size_type=8)),
    ("bad-imatrix-none", "without a weight of a layer", "no weight that we know", gguf(weight("ssm.weight", [2], [1, 2], [1]))),
    ("bad-imatrix-layers", "are none for 90001 layers", "layer 90,000 of eight tensors", gguf({**IMATRIX, **weight("blk.90000.attn_q.weight", [3], [1, 2, 3], [1])})),
    ("bad-imatrix-no-counts", "no counts go with it", "sums alone", gguf(less("blk.0.ffn_down.weight.counts"))),
    ("bad-imatrix-count-rows", "not F32 of n x channels", "three counts for two experts", gguf({**IMATRIX, "blk.1.ffn_gate_exps.weight.counts": ([3, 1], [1, 2, 3], 0)})),
    ("bad-imatrix-count-cols", "not F32 of n x channels", "counts across", gguf({**IMATRIX, "blk.1.ffn_gate_exps.weight.counts": ([1, 2], [30, 10], 0)})),
    ("bad-imatrix-f16", "not F32 of n x channels", "sums in F16", gguf({**IMATRIX, "blk.0.attn_q.weight.in_sum2": ([3], [1, 2, 3], 1)})),
    ("bad-imatrix-3d", "not F32 of n x channels", "three dimensions", gguf({**IMATRIX, "blk.1.ffn_gate_exps.weight.in_sum2": ([2, 1, 3], [1, 2, 3, 4, 5, 6], 0)})),
    ("bad-imatrix-rows", "one row is expected", "two matrices in the attention", gguf({**IMATRIX, **weight("blk.0.attn_q.weight", [2, 3], [1, 2, 3, 4, 5, 6], [1, 1])})),
    ("bad-imatrix-expert-nan", "negative or not finite", "not a number in an expert's sums: found at once, as the layer's mean is made", gguf(
        {**IMATRIX, "blk.1.ffn_gate_exps.weight.in_sum2": ([2, 3], [1, NAN, 3, 4, 5, 6], 0)})),
    ("bad-imatrix-expert-count", "negative or not finite", "a negative number of tokens", gguf({**IMATRIX, "blk.1.ffn_gate_exps.weight.counts": ([2, 1], [-1, 10], 0)})),

    ("broken-mean-nan", "negative or not finite", "not a number", write(layers__0__ffn_inner=f32(0, NAN))),
    ("broken-mean-negative", "negative or not finite", "a negative square", write(layers__0__ffn_inner=f32(0, -1))),
    ("broken-mean-infinite", "negative or not finite", "an infinite mean", write(final=f32(7, float("inf"), 9))),
    ("broken-saliency", "a saliency has a value that cannot be", "a negative length", write(layers__1__saliency=f64(*range(11), -1, shape=[2, 6]))),
    ("broken-angle", "an angle has a value that cannot be", "not a number", write(layers__1__angle=f64(NAN))),
    ("broken-sensitivity", "a sensitivity has a value that cannot be", "infinite", write(ROLES, sensitivity=f64(1, 2, 3, float("inf"), shape=[2, 2]))),
    ("broken-imatrix-sum", "negative or not finite", "a negative sum", gguf({**IMATRIX, "blk.0.attn_q.weight.in_sum2": ([3], [1, -2, 3], 0)})),
    ("broken-imatrix-count", "negative or not finite", "an infinite number of tokens", gguf({**IMATRIX, "blk.0.attn_q.weight.counts": ([1], [float("inf")], 0)})),

    ("unsupported-version", "version 2", "a later version", write({"version": "2"})),
    ("unsupported-gguf", "GGUF version 1", "GGUF version 1", b"GGUF" + struct.pack("<I", 1) + bytes(64)),
]

INTRO = """# Corpus: calibration statistics

Made by `make.py`, which knows the format from `docs/format-stats.md` only; do not edit by hand. `good-*` must be read, `bad-*` refused
as broken when they are opened, `broken-*` opened but refused when their values are read, `unsupported-*` refused as sound but beyond
this program. `expected.tsv` holds the words that the sentence must contain, so that a file is refused for its own fault.

| file | bytes | why |
|---|---|---|
"""


def files():
    out = {f"{name}.stats": content for name, _, _, content in CASES}
    assert len(out) == len(CASES)
    out["expected.tsv"] = "".join(f"{n}.stats\t{said}\n" for n, said, _, _ in CASES).encode()
    out["README.md"] = (INTRO + "".join(f"| `{n}` | {len(c)} | {why} |\n" for n, _, why, c in CASES)).encode()
    return out


def main():
    wanted = files()
    if "--check" in sys.argv:
        differ = [n for n, c in wanted.items() if not os.path.exists(os.path.join(HERE, n)) or open(os.path.join(HERE, n), "rb").read() != c]
        differ += [n for n in os.listdir(HERE) if n not in wanted and n not in ("make.py", "__pycache__")]
        print(f"{len(wanted)} files, different: {differ or 'none'}")
        return 1 if differ else 0
    for name, content in wanted.items():
        with open(os.path.join(HERE, name), "wb") as f:
            f.write(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
