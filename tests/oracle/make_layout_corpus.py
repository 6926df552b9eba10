"""Folders of quantized weights in one file each, good and bad, and what they decode to.

    python tests/oracle/make_layout_corpus.py tests/corpus/layouts tests/data/golden/layouts.bin

Needs numpy, ml_dtypes, torch and compressed-tensors 0.12.2 (tests/interop/requirements-int4.txt). Packing is that
of compressed-tensors where it has it; AWQ's and GPTQ's are written here from their specification: AutoAWQ
WQLinear_GEMM.from_linear, AutoGPTQ QuantLinear.pack. tests/unit/layout_container.h says how a folder becomes one file.

Each file holds one matrix, model.layers.0.mlp.down_proj [N, K] of a small configuration. layouts.bin has, for each
good file, the F32 values that independent code gives it (records as in make_block_vectors.py). expected.tsv: name,
verdict, and words that the sentence of a refusal must have.
"""
import json
import struct
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import torch
from compressed_tensors.compressors.quantized_compressors.pack_quantized import pack_to_int32

rng = np.random.default_rng(20250821)
f32, bf16 = np.float32, ml_dtypes.bfloat16
STEM = "model.layers.0.mlp.down_proj"
NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float8_e8m0fnu": "F8_E8M0",
         "int64": "I64", "int32": "I32", "int8": "I8"}


def safetensors(tensors):
    head, at = {}, 0
    for name, x in tensors.items():
        head[name] = {"dtype": NAMES[x.dtype.name], "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(np.ascontiguousarray(x).tobytes() for x in tensors.values())


def config(n, k, quantization):
    c = {"model_type": "llama", "hidden_size": n, "intermediate_size": k, "num_hidden_layers": 1, "vocab_size": 16,
         "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 64,
         "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "torch_dtype": "bfloat16"}
    if quantization is not None:
        c["quantization_config"] = quantization
    return c


def folder(config, tensors, description=None):
    text = json.dumps(config).encode()
    more = b"" if description is None else json.dumps(description).encode()
    st = safetensors(tensors)
    return struct.pack("<III", len(text), len(more), len(st)) + text + more + st


# ---- the layouts, each a function to (quantization_config, {suffix: array}, values) ------------------------------


def fp8(n=37, k=70, block=(16, 32), scale=f32, scale_fmt=None):
    codes = rng.integers(0, 256, (n, k), dtype=np.uint8)
    codes[(codes & 0x7F) == 0x7F] = 0
    blocks = (-(-n // block[0]), -(-k // block[1]))
    if scale is f32 and not scale_fmt:
        s = rng.uniform(1e-4, 1e-2, blocks).astype(f32)
    else:
        s = (2.0 ** rng.integers(-12, 3, blocks)).astype(f32).astype(scale)
    codes = codes.view(ml_dtypes.float8_e4m3fn)
    values = codes.astype(f32) * np.repeat(np.repeat(s.astype(f32), block[0], 0), block[1], 1)[:n, :k]
    q = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": list(block)}
    if scale_fmt:
        q["scale_fmt"] = scale_fmt
    return q, {".weight": codes, ".weight_scale_inv": s}, values


def compressed(fmt, weights):
    w = {"type": "int", "dynamic": False, "actorder": None, "block_structure": None, "observer": "minmax", "observer_kwargs": {}}
    return {"quant_method": "compressed-tensors", "format": fmt, "quantization_status": "compressed", "ignore": ["lm_head"],
            "kv_cache_scheme": None, "config_groups": {"group_0": {
                "targets": ["Linear"], "weights": {**w, **weights}, "input_activations": None, "output_activations": None}}}


def packed(x, dim=1):
    return pack_to_int32(torch.from_numpy(x), 4, packed_dim=dim).contiguous().numpy()


def int4(n=11, k=64, g=32, asymmetric=False, order=False, scale=bf16, shape=np.int64):
    q = rng.integers(-8, 8, (n, k), dtype=np.int8)
    s = rng.uniform(1e-3, 1e-1, (n, k // g)).astype(scale)
    z = rng.integers(-8, 8, (n, k // g), dtype=np.int8) if asymmetric else np.zeros((n, k // g), np.int8)
    group_of = (rng.permutation(k) // g if order else np.arange(k) // g).astype(np.int32)
    values = (q.astype(f32) - z.astype(f32)[:, group_of]) * s.astype(f32)[:, group_of]
    parts = {".weight_packed": packed(q), ".weight_scale": s, ".weight_shape": np.array([n, k], shape)}
    if asymmetric:
        parts[".weight_zero_point"] = packed(z, 0)
    if order:
        parts[".weight_g_idx"] = group_of
    c = compressed("pack-quantized", {"num_bits": 4, "symmetric": not asymmetric, "strategy": "group", "group_size": g})
    return c, parts, values


def int8(n=9, k=33, scale=bf16, offset=None):
    q = rng.integers(-128, 128, (n, k), dtype=np.int8)
    s = rng.uniform(1e-4, 1e-2, (n, 1)).astype(scale)
    parts = {".weight": q, ".weight_scale": s}
    if offset is not None:
        parts[".weight_offset"] = np.full((n, 1), offset, scale)
    c = compressed("int-quantized", {"num_bits": 8, "symmetric": True, "strategy": "channel", "group_size": None})
    return c, parts, q.astype(f32) * s.astype(f32)


def words(codes, order=range(8)):
    """codes [n, 8m] -> I32 [n, m]: place i of a word holds element order[i]."""
    u = codes.astype(np.uint32).reshape(codes.shape[0], -1, 8)
    out = np.zeros(u.shape[:2], np.uint32)
    for place, element in enumerate(order):
        out |= u[:, :, element] << np.uint32(4 * place)
    return out.view(np.int32)


def gptq(n=24, k=64, g=16, order=False, scale=np.float16, v2=False):
    q = rng.integers(0, 16, (n, k))
    s = rng.uniform(1e-3, 1e-1, (n, k // g)).astype(scale)
    z = rng.integers(0, 16, (n, k // g)) if v2 else rng.integers(1, 17, (n, k // g))
    group_of = (rng.permutation(k) // g if order else np.arange(k) // g).astype(np.int32)
    values = (q - z[:, group_of]).astype(f32) * s.astype(f32)[:, group_of]
    parts = {".qweight": np.ascontiguousarray(words(q).T), ".qzeros": words((z if v2 else z - 1).T),
             ".scales": np.ascontiguousarray(s.T), ".g_idx": group_of}
    c = {"quant_method": "gptq", "bits": 4, "group_size": g, "sym": False, "desc_act": order,
         "checkpoint_format": "gptq_v2" if v2 else "gptq"}
    return c, parts, values


def awq(n=24, k=64, g=16):
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    q, z = rng.integers(0, 16, (n, k)), rng.integers(0, 16, (n, k // g))
    s = rng.uniform(1e-3, 1e-1, (n, k // g)).astype(np.float16)
    values = (q - np.repeat(z, g, 1)).astype(f32) * np.repeat(s.astype(f32), g, 1)
    parts = {".qweight": words(q.T, order), ".qzeros": words(z.T, order), ".scales": np.ascontiguousarray(s.T)}
    return {"quant_method": "awq", "bits": 4, "group_size": g, "zero_point": True, "version": "gemm",
            "modules_to_not_convert": None}, parts, values


def ascend(word="W8A8_DYNAMIC", **k):
    _, parts, values = int8(offset=k.pop("offset", 0), **k)
    description = {"model_quant_type": "W8A8_DYNAMIC", **{STEM + s: word for s in parts}}
    return None, parts, values, description


# ---- files -------------------------------------------------------------------------------------------------------

files, golden, expected = {}, {}, []


def put(name, said, layout, k=None, n=None, edit=None):
    """A file of a layout; edit changes (quantization_config, parts, description) first."""
    q, parts, values, *rest = layout
    description = rest[0] if rest else None
    n, k = n or values.shape[0], k or values.shape[1]
    if edit:
        box = {"q": q, "parts": dict(parts), "description": description}
        edit(box)
        q, parts, description = box["q"], box["parts"], box["description"]
    files[name] = folder(config(n, k, q), {STEM + s: x for s, x in parts.items()}, description)
    expected.append((name, said))
    if name.startswith("good-"):
        golden[name[5:]] = values.astype(f32)


def setting(suffix, value):
    return lambda box: box["parts"].__setitem__(suffix, value(box["parts"][suffix]))


def dropping(suffix):
    return lambda box: box["parts"].pop(suffix)


def adding(suffix, value):
    return lambda box: box["parts"].__setitem__(suffix, value)


def weights(**change):
    return lambda box: box["q"]["config_groups"]["group_0"]["weights"].update(change)


def top(**change):
    return lambda box: box["q"].update(change)


def poison(x):
    y = x.copy()
    y.flat[1] = np.nan
    return y


put("good-fp8", "", fp8())
put("good-fp8-ue8m0-f32", "", fp8(scale_fmt="ue8m0"))
put("good-fp8-ue8m0", "", fp8(scale=ml_dtypes.float8_e8m0fnu, scale_fmt="ue8m0"))
put("bad-fp8-scale-type", "scale for each block", fp8(), edit=setting(".weight_scale_inv", lambda s: s.astype(bf16)))
put("bad-fp8-scale-shape", "scale for each block", fp8(), edit=setting(".weight_scale_inv", lambda s: s[:, :-1]))
put("bad-fp8-no-scale", "weight_scale_inv", fp8(), edit=dropping(".weight_scale_inv"))
put("bad-fp8-no-codes", "no shard holds its part", fp8(), edit=dropping(".weight"))
put("bad-fp8-no-block-size", "weight_block_size", (None, *fp8()[1:]), edit=dropping(".weight_scale_inv"))
put("bad-fp8-scale-nan", "scale at [0, 1]", fp8(), edit=setting(".weight_scale_inv", poison))
put("bad-fp8-scale-nan-ue8m0", "scale at [0, 1]", fp8(scale=ml_dtypes.float8_e8m0fnu),
    edit=setting(".weight_scale_inv", lambda s: poison(s.astype(f32)).astype(ml_dtypes.float8_e8m0fnu)))
put("bad-fp8-overflow", "FP8 code at", fp8(), edit=setting(".weight_scale_inv", lambda s: np.full_like(s, 3e38)))
put("unsupported-fp8-scale-fmt", "scale_fmt", fp8(), edit=top(scale_fmt="log2"))
put("unsupported-fp8-three-sizes", "two numbers", fp8(), edit=top(weight_block_size=[16, 32, 1]))

put("good-int4-g32", "", int4())
put("good-int4-g64-f16", "", int4(k=128, g=64, scale=np.float16))
put("good-int4-shape-i32", "", int4(shape=np.int32, scale=f32))
put("good-int4-asymmetric", "", int4(asymmetric=True))
put("good-int4-asymmetric-n16", "", int4(n=16, g=8, asymmetric=True))
put("good-int4-order", "", int4(order=True))
put("good-int4-asym-order", "", int4(asymmetric=True, order=True))
put("bad-int4-no-shape", "weight_shape", int4(), edit=dropping(".weight_shape"))
put("bad-int4-no-scale", "weight_scale", int4(), edit=dropping(".weight_scale"))
put("bad-int4-no-zero", "weight_zero_point", int4(asymmetric=True), edit=dropping(".weight_zero_point"))
put("bad-int4-zero-unasked", "symmetric", int4(asymmetric=True), edit=weights(symmetric=True))
put("bad-int4-zero-shape", "four bits for each group", int4(asymmetric=True), edit=setting(".weight_zero_point", lambda z: z[:1]))
put("bad-int4-zero-type", "four bits for each group", int4(asymmetric=True), edit=setting(".weight_zero_point", lambda z: z.view(f32)))
put("bad-int4-scale-shape", "scale for each group", int4(), edit=setting(".weight_scale", lambda s: s[:, :1]))
put("bad-int4-scale-type", "scale for each group", int4(), edit=setting(".weight_scale", lambda s: s.view(np.float16).astype(np.int32)))
put("bad-int4-scale-nan", "scale at [0, 1]", int4(), edit=setting(".weight_scale", poison))
put("bad-int4-scale-nan-asym", "scale at [0, 1]", int4(asymmetric=True), edit=setting(".weight_scale", poison))
put("bad-int4-overflow", "int4 code at", int4(scale=f32), edit=setting(".weight_scale", lambda s: np.full_like(s, 3e38)))
put("bad-int4-shape-differs", "its shape is not", int4(), edit=setting(".weight_shape", lambda s: s + [1, 0]))
put("bad-int4-shape-huge", "its shape is not", int4(), edit=setting(".weight_shape", lambda s: s * 0 - 1))
put("bad-int4-shape-type", "two I64", int4(), edit=setting(".weight_shape", lambda s: s.astype(f32)))
put("bad-int4-group", "its shape is not", int4(), edit=weights(group_size=48))
put("bad-int4-group-of-four", "its shape is not", int4(), edit=weights(group_size=4))
put("bad-int4-order-length", "a group for each column", int4(order=True), edit=setting(".weight_g_idx", lambda g: g[:-1]))
put("bad-int4-order-beyond", "column 1 is of a group", int4(order=True),
    edit=setting(".weight_g_idx", lambda g: np.where(np.arange(len(g)) == 1, 2, g).astype(np.int32)))
put("bad-int4-order-negative", "column 1 is of a group", int4(order=True),
    edit=setting(".weight_g_idx", lambda g: np.where(np.arange(len(g)) == 1, -1, g).astype(np.int32)))
put("bad-int4-alone", "no shard holds its part", int4(), edit=dropping(".weight_packed"))
put("bad-int4-no-config", "does not name", (None, *int4()[1:]))
put("bad-int4-twice", "two encodings", int4(), edit=adding(".weight", np.zeros((11, 64), f32)))
put("bad-int4-model-shape", "as the configuration says", int4(), n=12)
put("unsupported-int4-three-bits", "neither pack-quantized", int4(), edit=weights(num_bits=3))
put("unsupported-int4-group-0", "neither pack-quantized", int4(), edit=weights(group_size=0))
put("unsupported-int4-float", "integers in one group", int4(), edit=weights(type="float"))
put("unsupported-int4-two-groups", "integers in one group", int4(), edit=lambda box: box["q"]["config_groups"].update(group_1={}))

put("good-int8", "", int8())
put("good-int8-f32", "", int8(scale=f32))
put("bad-int8-no-scale", "weight_scale", int8(), edit=dropping(".weight_scale"))
put("bad-int8-scale-shape", "one scale for each row", int8(), edit=setting(".weight_scale", lambda s: s[:, 0]))
put("bad-int8-scale-infinite", "scale at [1, 0]", int8(), edit=setting(".weight_scale", lambda s: poison(s)))
put("bad-int8-overflow", "int8 code at", int8(scale=f32), edit=setting(".weight_scale", lambda s: np.full_like(s, 3e38)))
put("bad-int8-no-config", "does not say of what", (None, *int8()[1:]))
put("bad-int8-codes-alone", "does not say of what", (None, *int8()[1:]), edit=dropping(".weight_scale"))
put("unsupported-int8-asymmetric", "neither pack-quantized", int8(), edit=weights(symmetric=False))
put("unsupported-int8-tensor", "neither pack-quantized", int8(), edit=weights(strategy="tensor"))

put("good-ascend", "", ascend())
put("good-ascend-f32", "", ascend(scale=f32))
put("bad-ascend-no-offset", "weight_offset", ascend(), edit=dropping(".weight_offset"))
put("bad-ascend-offset-shape", "one offset for each row", ascend(), edit=setting(".weight_offset", lambda s: s[:-1]))
put("bad-ascend-float", "W8A8_DYNAMIC", ascend(word="FLOAT"))
put("bad-ascend-not-codes", "not I8 codes", ascend(), edit=lambda box: box.update(parts={".weight": np.zeros((9, 33), f32)}))
put("bad-ascend-list", "not a JSON object", ascend(), edit=lambda box: box.update(description=[1]))
put("unsupported-ascend-offset", "offset at [0, 0] is not zero", ascend(offset=1))
put("unsupported-ascend-w4a8", "W4A8_DYNAMIC", ascend(word="W4A8_DYNAMIC"))
put("unsupported-ascend-number", "not a string", ascend(word=8))
put("unsupported-ascend-and-config", "both", (int8()[0], *ascend()[1:]))

put("good-gptq", "", gptq())
put("good-gptq-order-bf16", "", gptq(order=True, scale=bf16))
put("good-gptq-v2", "", gptq(v2=True))
put("bad-gptq-no-zeros", "qzeros", gptq(), edit=dropping(".qzeros"))
put("bad-gptq-no-order", "g_idx", gptq(), edit=dropping(".g_idx"))
put("bad-gptq-zeros-shape", "four bits for each group", gptq(), edit=setting(".qzeros", lambda z: z[:, :1]))
put("bad-gptq-scale-shape", "scale for each group", gptq(), edit=setting(".scales", lambda s: s.T.copy()))
put("bad-gptq-scale-nan", "scale at [0, 1]", gptq(), edit=setting(".scales", poison))
put("bad-gptq-words", "packed words", gptq(), edit=setting(".qweight", lambda w: w.view(f32)))
put("bad-gptq-order-beyond", "is of a group", gptq(), edit=setting(".g_idx", lambda g: g + 1))
put("bad-gptq-group", "divide into words and groups", gptq(), edit=top(group_size=24))
put("bad-gptq-alone", "no shard holds its part", gptq(), edit=dropping(".qweight"))
put("bad-gptq-as-awq", "divide into words and groups", gptq(k=64, n=64), edit=lambda box: box.update(q=awq()[0]))
put("unsupported-gptq-bits", "4 bits", gptq(), edit=top(bits=8))
put("unsupported-gptq-one-group", "4 bits", gptq(), edit=top(group_size=-1))
put("unsupported-gptq-marlin", "checkpoint_format", gptq(), edit=top(checkpoint_format="marlin"))

put("good-awq", "", awq())
put("good-awq-g64-n72", "", awq(n=72, g=64))
put("bad-awq-no-scales", "scales", awq(), edit=dropping(".scales"))
put("bad-awq-zeros-shape", "four bits for each group", awq(), edit=setting(".qzeros", lambda z: z[:-1]))
put("bad-awq-scale-nan", "scale at [0, 1]", awq(), edit=setting(".scales", poison))
put("unsupported-awq-gemv", "gemm", awq(), edit=top(version="gemv"))
put("unsupported-awq-no-zero", "zero points", awq(), edit=top(zero_point=False))
put("unsupported-method", "quant_method", awq(), edit=top(quant_method="bitsandbytes"))

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
for old in out.glob("*-*"):
    old.unlink()
for name, data in files.items():
    (out / name).write_bytes(data)
(out / "expected.tsv").write_text("".join(f"{name}\t{said}\n" for name, said in expected))
with open(sys.argv[2], "wb") as f:
    for name, x in golden.items():
        f.write(name.encode().ljust(24, b"\0") + struct.pack("<Q", x.nbytes) + x.tobytes())
print(len(files), "files,", sum(map(len, files.values())), "bytes;", len(golden), "decoded")
