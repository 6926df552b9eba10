#!/usr/bin/env python3
"""Are the tensors of a quantized directory those that independent code makes of the same source?

  layouts.py SOURCE DIR

Made with --method plain. Every tensor of DIR: name, element type, shape, bytes, against numpy, ml_dtypes and
compressed-tensors 0.12.2 (requirements-int4.txt): FP8 of an FP8 source must be its bytes; int4 and int8 are quantized and
packed by compressed-tensors' own functions; GPTQ and AWQ are packed here as AutoGPTQ and AutoAWQ do. Then what the
loaders' rules for exceptions say of every linear layer: compressed-tensors' `ignore`, vLLM's `dynamic` of gptq,
AWQ's substrings, Ascend's description. Last, the values that numpy decodes from DIR must be those that baleen read
(with --decoded F32DIR, made by `baleen convert DIR -o F32DIR --dtype f32`). Exit 1 on any difference.
"""
import argparse
import json
import re
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import quantize
from compressed_tensors.quantization.utils.helpers import calculate_qparams

from checkpoint import NAMES, Checkpoint

try:
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32  # 0.20
except ImportError:
    from compressed_tensors.compressors.quantized_compressors.pack_quantized import pack_to_int32

f32, bf16 = np.float32, ml_dtypes.bfloat16
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def fp8(w, round_up):
    n, k = w.shape
    codes, scales = np.zeros((n, k), np.uint8), np.zeros((-(-n // 128), -(-k // 128)), f32)
    for i in range(0, n, 128):
        for j in range(0, k, 128):
            b = w[i : i + 128, j : j + 128]
            s = max(f32(np.abs(b).max()) / f32(448), f32(2.0**-126))
            s = f32(2.0 ** np.ceil(np.log2(np.float64(s)))) if round_up else s
            scales[i // 128, j // 128] = s
            codes[i : i + 128, j : j + 128] = np.clip(b / s, -448, 448).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    return {".weight": codes.view(ml_dtypes.float8_e4m3fn), ".weight_scale_inv": scales}


def as_numpy(t):
    return t.contiguous().view(torch.int16).numpy().view(bf16) if t.dtype == torch.bfloat16 else t.contiguous().numpy()


def int8(w, half):
    t = torch.from_numpy(w)
    a = QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="channel")
    s, _ = calculate_qparams(t.amin(1, keepdim=True), t.amax(1, keepdim=True), a)
    if half == 127:
        s = torch.clamp(t.abs().amax(1, keepdim=True) / 127, min=2.0**-23)
    s = s.to(torch.bfloat16)
    q = quantize(t, s.float(), torch.zeros_like(s.float()), a, dtype=torch.int8)
    parts = {".weight": q.numpy(), ".weight_scale": as_numpy(s)}
    return {**parts, ".weight_offset": np.zeros(s.shape, bf16)} if half == 127 else parts


def grid(w, g, symmetric, least=0):
    """Codes and zero points from 0, scales in BF16: the library's parameters, and its codes for the stored scale."""
    n, k = w.shape
    a = QuantizationArgs(num_bits=4, type="int", symmetric=symmetric, strategy="group", group_size=g)
    t = torch.from_numpy(w)
    groups = t.reshape(n, k // g, g)
    low, high = groups.amin(2), groups.amax(2)
    s, _ = calculate_qparams(low, high, a)
    s = s.to(torch.bfloat16)
    z = torch.zeros_like(s.float()) if symmetric else torch.clamp(torch.round(-8 - torch.clamp(low, max=0) / s.float()), least - 8, 7)
    q = quantize(t, s.float(), z.to(torch.int8), a, dtype=torch.int8)
    return q, s, z.to(torch.int8)


def packed(t, dim=1):
    return pack_to_int32(t, 4, packed_dim=dim).contiguous().numpy()


def int4(w, g, symmetric):
    q, s, z = grid(w, g, symmetric)
    out = {".weight_packed": packed(q), ".weight_scale": as_numpy(s), ".weight_shape": np.array(w.shape, np.int64)}
    return out if symmetric else {**out, ".weight_zero_point": packed(z, 0)}


def words(u, order=range(8)):
    u = np.ascontiguousarray(u).astype(np.uint32).reshape(u.shape[0], -1, 8)
    out = np.zeros(u.shape[:2], np.uint32)
    for place, element in enumerate(order):
        out |= u[:, :, element] << np.uint32(4 * place)
    return out.view(np.int32)


def transposed(w, g, symmetric, kind):
    q, s, z = grid(w, g, symmetric, 1 if kind == "gptq" else 0)
    u, zero = (q.numpy().astype(np.int16) + 8), (z.numpy().astype(np.int16) + 8)
    scales = np.ascontiguousarray(as_numpy(s).astype(f32).astype(np.float16).T)
    if kind == "awq":
        return {".qweight": words(u.T, AWQ_ORDER), ".qzeros": words(zero.T, AWQ_ORDER), ".scales": scales}
    return {".qweight": np.ascontiguousarray(words(u).T), ".qzeros": words(zero.T - 1), ".scales": scales,
            ".g_idx": (np.arange(w.shape[1]) // g).astype(np.int32)}


def decode(c, stem, q, ascend):
    """The matrix as numpy reads it from the directory."""
    if stem + ".weight_packed" in c and stem + ".weight_zero_point" in c:
        p, s, z = (c.raw(stem + x) for x in (".weight_packed", ".weight_scale", ".weight_zero_point"))
        u = unpack(p)
        g = u.shape[1] // s.shape[1]
        zero = unpack(np.ascontiguousarray(z.T)).T[: u.shape[0]]
        return (u - np.repeat(zero, g, 1)).astype(f32) * np.repeat(s.astype(f32), g, 1)
    if stem + ".qweight" in c:
        w, z, s = (c.raw(stem + x) for x in (".qweight", ".qzeros", ".scales"))
        awq = q["quant_method"] == "awq"
        order = AWQ_ORDER if awq else range(8)
        u = unpack(w, order).T if awq else unpack(np.ascontiguousarray(w.T))
        zero = unpack(z, order).T + (0 if awq else 1)
        g = u.shape[1] // s.shape[0]
        return (u - np.repeat(zero, g, 1)).astype(f32) * np.repeat(s.T.astype(f32), g, 1)
    if c.tensors[stem + ".weight"][0] == "I8" if stem + ".weight" in c else False:
        return c.raw(stem + ".weight").astype(f32) * c.raw(stem + ".weight_scale").astype(f32)
    return c.f32(stem + ".weight")


def unpack(x, order=range(8)):
    u = np.zeros((*x.shape, 8), np.int32)
    for place, element in enumerate(order):
        u[:, :, element] = x.view(np.uint32) >> np.uint32(4 * place) & 15
    return u.reshape(x.shape[0], -1)


def excepted(q, module, description):
    """Whether the loaders of this layout leave the module alone."""
    if description is not None:
        return description[module + ".weight"] == "FLOAT"
    if q["quant_method"] == "fp8":
        return module in q.get("modules_to_not_convert", ["lm_head"])
    if q["quant_method"] == "compressed-tensors":
        return any(re.match(p[3:], module) if p.startswith("re:") else p == module for p in q["ignore"])
    if q["quant_method"] == "gptq":
        return any(re.match(p[2:], module) for p in q["dynamic"])
    return any(p in module for p in q["modules_to_not_convert"])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("source")
    ap.add_argument("dir")
    ap.add_argument("--decoded")
    a = ap.parse_args()
    src, have = Checkpoint(a.source), Checkpoint(a.dir)
    q, file = have.config.get("quantization_config"), Path(a.dir) / "quant_model_description.json"
    description = json.loads(file.read_text()) if file.exists() else None
    sq = src.config.get("quantization_config", {})
    method = "ascend" if description else q["quant_method"]
    bad, seen, n_quantized, n_values = [], set(), 0, 0
    decoded = Checkpoint(a.decoded) if a.decoded else None
    w = q["config_groups"]["group_0"]["weights"] if method == "compressed-tensors" else {}
    for name in src.weights():
        stem, x = name.removesuffix(".weight"), None
        if name + "_scale_inv" in src or (len(src.shape_of(name)) == 2 and "proj" in name and "eh_proj" not in name):
            x = src.f32(name)
        quantized = x is not None and not (name in have and have.tensors[name][0] in ("BF16", "F32", "F16"))
        if not quantized:
            want = {name.removeprefix(stem): src.f32(name).astype(bf16) if name + "_scale_inv" in src else src.raw(name)}
        elif method == "fp8" and sq.get("quant_method") == "fp8" and q.get("scale_fmt") == sq.get("scale_fmt"):
            want = {".weight": src.raw(name), ".weight_scale_inv": src.raw(name + "_scale_inv")}
        elif method == "fp8":
            want = fp8(x, q.get("scale_fmt") == "ue8m0")
        elif method == "ascend":
            want = int8(x, 127)
        elif method == "compressed-tensors":
            want = int8(x, 127.5) if q["format"] == "int-quantized" else int4(x, w["group_size"], w["symmetric"])
        else:
            want = transposed(x, q["group_size"], q.get("sym", False), method)
        n_quantized += quantized
        for suffix, t in want.items():
            full = stem + suffix
            seen.add(full)
            if full not in have:
                bad.append(f"{full}: missing")
            elif (NAMES[t.dtype], t.shape) != have.tensors[full][:2]:
                bad.append(f"{full}: {have.tensors[full][:2]}, not {NAMES[t.dtype]} {t.shape}")
            elif t.tobytes() != have.raw(full).tobytes():
                n = np.count_nonzero(np.frombuffer(t.tobytes(), np.uint8) != np.frombuffer(have.raw(full).tobytes(), np.uint8))
                bad.append(f"{full}: {n} of {t.nbytes} bytes differ")
        router = stem.endswith("mlp.gate") and method == "awq"  # no linear layer to its loaders
        if name.endswith(".weight") and len(src.shape_of(name)) == 2 and "embed_tokens" not in name and not router:
            plain_anyway = method == "fp8" and not quantized and ("gate" in stem or "eh_proj" in stem or "shared_head" in stem)
            if excepted(q, stem, description) == quantized and not plain_anyway:
                bad.append(f"{stem} is {'quantized' if quantized else 'plain'}, the configuration says otherwise")
        if quantized and decoded:
            y = decode(have, stem, q, description)
            n_values += y.size
            if not np.array_equal(y, decoded.raw(name)):
                bad.append(f"{stem}: baleen decodes {np.count_nonzero(y != decoded.raw(name))} values otherwise")
    bad += [f"{n}: not expected" for n in sorted(set(have.tensors) - seen)]
    for line in bad[:20]:
        print(line)
    print(f"{a.dir}: {method}: {len(have.tensors)} tensors, {n_quantized} matrices quantized, {n_values} values decoded: " + (f"{len(bad)} differences" if bad else "all equal"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
