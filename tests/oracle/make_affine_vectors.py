"""Golden vectors for the plain encoders of Q4_1 and Q5_1, from the package gguf.

    python tests/oracle/make_affine_vectors.py tests/data/golden/affine.bin

Needs numpy, ml_dtypes 0.6 and gguf 0.19. Records as in make_block_vectors.py: "x32" and its blocks.
"""
import struct
import sys
import warnings

import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import quantize

warnings.simplefilter("ignore")  # overflow and division by zero are what is tested
rng = np.random.default_rng(20250605)
f32 = np.float32


def hard_blocks():
    """Blocks of 32 that ask for a decision, then ordinary ones of several scales."""
    i = np.arange(32)
    ramp = np.linspace(-1, 1, 32, dtype=f32)
    blocks = [
        np.zeros(32),
        -np.zeros(32),
        np.full(32, 0.7),
        np.full(32, -3.0),
        np.where(i == 31, 1e-3, 0.0),
        np.where(i == 5, -1e-3, 0.0),
        np.where(i % 2, 4.0, -4.0),
        i * 0.5,  # exact halves after scaling
        (i % 31) * 0.5 - 8.0,
        np.where(i == 0, 15.0, (i % 15) + 0.5) - 3.0,
        np.where(i == 0, 31.0, (i % 31) + 0.5) - 3.0,
        ramp * 65504,  # the largest that fit
        ramp * 65504 * 1.01,  # past them: infinite
        ramp * 0.1 + 1000,  # far from zero
        ramp * 2.0**-14 * 15,  # F16 scales around the smallest normal and subnormal
        ramp * 2.0**-24 * 15,
        ramp * 2.0**-25 * 15,
        ramp * 2.0**-26 * 15,
    ]
    # 1 / d is infinite up to d = 2^-128: both sides of it, for d = (max - min) / 15 and / 31.
    for exponent in (-149, -140, -130, -128, -127, -126, -125, -124, -123, -122, -110):
        for factor in (1.0, 1.37):
            blocks.append(ramp * 2.0**exponent * factor)
    for k in range(120):
        x = rng.standard_normal(32) * 10.0 ** rng.integers(-6, 3)
        if k % 4 == 0:  # values of weights: BF16
            x = x.astype(ml_dtypes.bfloat16)
        if k % 4 == 1:  # coarse: many ties
            x = np.round(x * 4) / 4 + 0.125
        if k % 5 == 2:
            x = np.abs(x)
        if k % 5 == 3:
            x = -np.abs(x)
        blocks.append(x)
    return np.array([np.asarray(b, np.float64).astype(f32) for b in blocks])


def blocks32():
    x = hard_blocks()
    records = {"x32": x}
    for name, kind, size in (("q4_1", T.Q4_1, 20), ("q5_1", T.Q5_1, 24)):
        records[name] = np.concatenate([quantize(row[None], kind).reshape(1, size) for row in x])
    return records


with open(sys.argv[1], "wb") as f:
    for name, array in blocks32().items():
        data = np.ascontiguousarray(array).tobytes()
        f.write(name.encode().ljust(24, b"\0") + struct.pack("<Q", len(data)) + data)
        print(name, array.shape, len(data))
