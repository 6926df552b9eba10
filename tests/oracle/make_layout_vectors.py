"""Golden vectors for the encoders of a folder's layouts (quantize/encode_{fp8_block,int8_row,int4_zero}.c).

    python tests/oracle/make_layout_vectors.py tests/data/golden/layout_encoders.bin

Needs numpy, ml_dtypes, torch and compressed-tensors 0.12.2. FP8: ml_dtypes, the power of two by log2. int8 and int4 with
zero points: compressed-tensors' own calculate_qparams and quantize, with the scale in the BF16 that is stored. Ascend's
int8 (amax / 127) is numpy's. Records as in make_block_vectors.py.
"""
import struct
import sys

import ml_dtypes
import numpy as np
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import quantize
from compressed_tensors.quantization.utils.helpers import calculate_qparams

rng = np.random.default_rng(20250822)
f32, bf16 = np.float32, ml_dtypes.bfloat16
N, K = 140, 192  # two block rows and two block columns, the last ones partial

x = (rng.standard_normal((N, K)) * np.exp(rng.uniform(-6, 2, (N, 1)))).astype(f32)
x[3] = 0
x[4, 7] = 400
x[5] = np.abs(x[5]) + 1  # a range without zero
x[6] = -np.abs(x[6]) - 1
x[7] *= 1e-30
x[8] *= 1e-42  # subnormal
x[128:, 128:] = 0  # a block of zeros
x[9, :64] = np.arange(64) / 2 - 16  # ties


def blocks(scale_of):
    codes, scales = np.zeros((N, K), np.uint8), np.zeros((-(-N // 128), -(-K // 128)), f32)
    for i in range(0, N, 128):
        for j in range(0, K, 128):
            block = x[i : i + 128, j : j + 128]
            s = scale_of(f32(np.abs(block).max()) / f32(448))
            scales[i // 128, j // 128] = s
            codes[i : i + 128, j : j + 128] = np.clip(block / s, -448, 448).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    return codes, scales


least = f32(2.0**-126)
fp8 = blocks(lambda s: max(s, least))
ue8m0 = blocks(lambda s: f32(2.0 ** np.ceil(np.log2(np.float64(s)))) if s > least else least)

t = torch.from_numpy(x)
a8 = QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="channel")
s8, _ = calculate_qparams(t.amin(1, keepdim=True), t.amax(1, keepdim=True), a8)
s8 = s8.to(torch.bfloat16).to(torch.float32)
q8 = quantize(t, s8, torch.zeros_like(s8), a8, dtype=torch.int8)
sa = np.maximum(np.abs(x).max(1, keepdims=True) / f32(127), f32(2.0**-23)).astype(bf16)
qa = np.clip(np.rint(x / sa.astype(f32)), -128, 127).astype(np.int8)

records = {"x": x, "fp8_codes": fp8[0], "fp8_scales": fp8[1], "ue8m0_codes": ue8m0[0], "ue8m0_scales": ue8m0[1],
           "int8_codes": q8.numpy(), "int8_scales": s8.to(torch.bfloat16).view(torch.int16).numpy(),
           "ascend_codes": qa, "ascend_scales": sa.view(np.uint16)}
for g in (32, 64):
    a4 = QuantizationArgs(num_bits=4, type="int", symmetric=False, strategy="group", group_size=g)
    groups = t.reshape(N, K // g, g)
    low, high = groups.amin(2), groups.amax(2)
    s4, _ = calculate_qparams(low, high, a4)
    s4 = s4.to(torch.bfloat16).to(torch.float32)
    zero = torch.clamp(torch.round(-8 - torch.clamp(low, max=0) / s4), -8, 7)
    q4 = quantize(t, s4, zero.to(torch.int8), a4, dtype=torch.int8)
    u = (q4.numpy().astype(np.int16) + 8).astype(np.uint8)
    records[f"int4_packed_{g}"] = u[:, ::2] | u[:, 1::2] << 4
    records[f"int4_scales_{g}"] = s4.to(torch.bfloat16).view(torch.int16).numpy()
    records[f"int4_zeros_{g}"] = (zero.numpy() + 8).astype(np.uint8)

with open(sys.argv[1], "wb") as f:
    for name, array in records.items():
        data = np.ascontiguousarray(array).tobytes()
        f.write(name.encode().ljust(24, b"\0") + struct.pack("<Q", len(data)) + data)
print(sum(r.nbytes for r in records.values()), "bytes")
