"""Golden vectors for formats/dtype, formats/block and quantize, from independent code.

    python tests/oracle/make_block_vectors.py tests/data/golden

writes float_bits.bin and blocks.bin. Needs numpy, ml_dtypes 0.6, gguf 0.19, torch and
compressed-tensors 0.20. Both files are a run of records: name (24 bytes, zero padded), number of
bytes (u64, little-endian), bytes. tests/unit/golden_records.h reads them.
"""
import struct
import sys
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize as ct_dequantize
from compressed_tensors.quantization.lifecycle.forward import quantize as ct_quantize
from compressed_tensors.quantization.utils.helpers import calculate_qparams
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

warnings.simplefilter("ignore")  # overflow and division by zero are what is tested
rng = np.random.default_rng(20250120)
f32, u32 = np.float32, np.uint32


def write(path, records):
    with open(path, "wb") as f:
        for name, array in records.items():
            data = np.ascontiguousarray(array).tobytes()
            f.write(name.encode().ljust(24, b"\0") + struct.pack("<Q", len(data)) + data)
    print(path, path.stat().st_size, "bytes")


# ---- one value at a time ---------------------------------------------------------------------


def values_of(dtype, n):
    return np.arange(n, dtype=np.uint8).view(dtype).astype(f32).view(u32)


def rounding_cases():
    """F32 patterns around every place where a conversion decides something."""
    fixed = [0, 1, 2, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF]
    cases = [np.array(fixed, u32)]
    grids = [
        np.arange(0x7C00, dtype=np.uint16)[::127].view(np.float16).astype(np.float64),
        np.arange(0x0420, dtype=np.uint16)[::11].view(np.float16).astype(np.float64),  # subnormal
        np.array([65504, 65536.0]),
        np.arange(0x7F, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float64),
    ]
    steps = {0: 127, 1: 11, 2: 1, 3: 1}
    for i, grid in enumerate(grids):
        upper = np.roll(grid, -1)[:-1] if steps[i] == 1 else grid[:-1] * (1 + 2.0**-10)
        middle = ((grid[:-1] + upper) / 2).astype(f32).view(u32)
        exact = grid.astype(f32).view(u32)
        cases += [middle - 1 * (middle > 0), middle, middle + 1, exact]
    ties = (rng.integers(0, 0x7F80, 200, dtype=u32) << 16) | 0x8000  # of BF16
    cases += [ties - 1, ties, ties + 1, rng.integers(0, 1 << 31, 600, dtype=u32)]
    magnitude = np.unique(np.concatenate(cases).astype(u32))
    return np.concatenate([magnitude, magnitude | u32(0x80000000)])


def float_bits():
    bits = rounding_cases()
    x = bits.view(f32)
    clipped = np.where(np.isnan(x), x, np.clip(x, -448, 448)).astype(f32)  # we saturate
    return {
        "f16_values": np.arange(0x8000, dtype=np.uint16).view(np.float16).astype(f32).view(u32),
        "f8e4m3_values": values_of(ml_dtypes.float8_e4m3fn, 256),
        "f8e5m2_values": values_of(ml_dtypes.float8_e5m2, 256),
        "f8e8m0_values": values_of(ml_dtypes.float8_e8m0fnu, 256),
        "f8e4m3fnuz_values": values_of(ml_dtypes.float8_e4m3fnuz, 256),
        "f8e5m2fnuz_values": values_of(ml_dtypes.float8_e5m2fnuz, 256),
        "f4e2m1_values": values_of(ml_dtypes.float4_e2m1fn, 16),
        "f6e2m3_values": values_of(ml_dtypes.float6_e2m3fn, 64),
        "f6e3m2_values": values_of(ml_dtypes.float6_e3m2fn, 64),
        "case_f32": bits,
        "case_f16": x.astype(np.float16).view(np.uint16),
        "case_bf16": x.astype(ml_dtypes.bfloat16).view(np.uint16),
        "case_f8e4m3": clipped.astype(ml_dtypes.float8_e4m3fn).view(np.uint8),
    }


# ---- blocks of 32 ----------------------------------------------------------------------------


def hard_blocks():
    """Blocks of 32 that ask for a decision, then ordinary ones of several scales."""
    i = np.arange(32)
    ramp = np.linspace(-1, 1, 32, dtype=f32)
    blocks = [
        np.zeros(32),
        -np.zeros(32),
        np.where(i % 2, 0.0, -0.0),  # starts with -0
        np.where(i % 2, -0.0, 0.0),
        np.where(i == 31, 1e-3, 0.0),
        np.where(i % 2, 4.0, -4.0),  # two extremes: the first decides the sign of Q4_0's scale
        np.where(i % 2, -4.0, 4.0),
        np.where(i == 17, -3.0, np.where(i == 16, 3.0, 0.5)),
        i - 16.0,  # exact halves after scaling
        (i - 15.5) * 127 / 15.5,
        (i % 16) * 0.5 - 8.0,
        np.where(i == 0, 127.0, i - 0.5),  # scale 1: halves, rounded away from zero
        np.where(i == 0, -127.0, 0.5 - i),
        np.where(i == 0, -8.0, (i % 15) - 7.5),  # scale 1 of Q4_0: ties
        ramp * 127 * 65504,  # the largest F16 scale of Q8_0
        ramp * 127 * 65519,
        ramp * 127 * 65521,  # past it: infinite
        ramp * 8 * 65504,
        ramp * 3.4e38,
        ramp * 2.0**-14 * 127,  # F16 scales around the smallest normal and subnormal
        ramp * 2.0**-24 * 127,
        ramp * 2.0**-25 * 127,
        ramp * 2.0**-26 * 127,
    ]
    # 1 / d is infinite up to d = 2^-128: both sides of it, for d = amax / 127 and amax / 8.
    for exponent in (-149, -140, -130, -126, -125, -124, -122, -121, -120, -119, -110):
        for factor in (1.0, 1.37):
            blocks.append(ramp * 2.0**exponent * factor)
    for factor in (1 - 2.0**-20, 1.0, 1 + 2.0**-20):
        blocks += [ramp * 127 * 2.0**-128 * factor, ramp * 8 * 2.0**-128 * factor]
    for k in range(120):
        x = rng.standard_normal(32) * 10.0 ** rng.integers(-6, 3)
        if k % 4 == 0:  # values of weights: BF16
            x = x.astype(ml_dtypes.bfloat16)
        if k % 4 == 1:  # coarse: many ties
            x = np.round(x * 4) / 4
        blocks.append(x)
    return np.array([np.asarray(b, np.float64).astype(f32) for b in blocks])


def blocks32():
    x = hard_blocks()
    records = {"x32": x}
    for name, kind, size in (("q8_0", T.Q8_0, 34), ("q4_0", T.Q4_0, 18)):
        encoded = np.concatenate([quantize(row[None], kind).reshape(1, size) for row in x])
        anything = rng.integers(0, 256, (32, size), dtype=np.uint8)
        anything[:, 1] &= 0xBF  # no infinite or NaN scales: those are compared as NaN by nobody
        records[name] = encoded
        records[name + "_any"] = anything
        records[name + "_any_f32"] = dequantize(anything, kind)
    return records


# ---- groups and FP8 blocks -------------------------------------------------------------------


def int4_rows():
    """[12, 256] F32: ordinary rows, and groups that ask for a decision."""
    x = (rng.standard_normal((12, 256)) * 10.0 ** rng.integers(-4, 2, (12, 1))).astype(f32)
    x[3] = x[3].astype(ml_dtypes.bfloat16).astype(f32)
    x[4] = np.round(x[4] / np.abs(x[4]).max() * 15) / 2  # scale 1: halves, ties to even
    x[4, ::64] = 7.5
    x[5, :128] = 0.0
    x[5, 128:] = -0.0
    x[6] *= f32(2.0**-120)
    x[7] = np.linspace(-3.4e38, 3.4e38, 256, dtype=f32)
    x[8] = np.linspace(-1, 1, 256, dtype=f32) * f32(2.0**-131)  # the scale is subnormal
    x[9] = np.linspace(-1, 1, 256, dtype=f32) * f32(2.0**-140)  # the scale rounds to zero
    x[10] = np.where(np.arange(256) % 64 == 5, 1.0, 1e-3).astype(f32)
    x[11] = np.where(np.arange(256) % 2, 3.0, -3.0).astype(f32)
    return x


def int4():
    x = int4_rows()
    records = {"int4_x": x}
    for group in (32, 128):
        args = QuantizationArgs(num_bits=4, type="int", symmetric=True, strategy="group", group_size=group)
        w = torch.from_numpy(x)
        grouped = w.unflatten(-1, (-1, group))
        scale, zero = calculate_qparams(grouped.amin(-1), grouped.amax(-1), args)
        scale = scale.to(torch.bfloat16)
        # The package lifts a zero scale before the cast to BF16; the same after it.
        scale = torch.where(scale == 0, torch.tensor(torch.finfo(torch.float32).eps, dtype=scale.dtype), scale)
        q = ct_quantize(w, scale, None, args, dtype=torch.int8)
        assert (zero == 0).all()
        records[f"int4_packed_{group}"] = pack_to_int32(q, 4).numpy()
        records[f"int4_scale_{group}"] = scale.view(torch.int16).numpy()
        # in F32: the package multiplies in the scale's type, which would round to BF16
        records[f"int4_f32_{group}"] = ct_dequantize(q, scale.float(), None, args).numpy()
    return records


def fp8():
    codes = np.concatenate([np.arange(256), rng.integers(0, 256, 3 * 300 - 256)]).astype(np.uint8).reshape(3, 300)
    scale = np.array([[1.0, 2.5e-4, 3.1], [-1e-3, 0.0, 1e38], [1e-45, 7e-42, 0.1]], f32)
    value = codes.view(ml_dtypes.float8_e4m3fn).astype(f32) * np.repeat(scale, 128, axis=1)[:, :300]
    return {"fp8_codes": codes, "fp8_scale": scale, "fp8_f32": value.astype(f32)}


out = Path(sys.argv[1])
write(out / "float_bits.bin", float_bits())
write(out / "blocks.bin", {**blocks32(), **int4(), **fp8()})
