"""Golden vectors for the plain encoders of Q5_0 and MXFP4, from the Python package gguf.

    python tests/oracle/make_plain_vectors.py tests/data/golden/plain_blocks.bin

Needs numpy and gguf 0.19. Records as in make_block_vectors.py: the values under NAME_x, their
blocks under NAME.
"""
import struct
import sys
import warnings

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import quantize

warnings.simplefilter("ignore")  # overflow and division by zero are what is tested
rng = np.random.default_rng(20250123)
f32 = np.float32
i = np.arange(32)
ramp = np.linspace(-1, 1, 32, dtype=f32)


def ordinary():
    for k in range(60):
        x = rng.standard_normal(32) * 10.0 ** rng.integers(-6, 3)
        if k % 4 == 0:
            x = (x.astype(f32).view(np.uint32) & np.uint32(0xFFFF0000)).view(f32)  # BF16
        if k % 4 == 1:  # coarse: many ties
            x = np.round(x * 4) / 4
        yield x


def common():
    return [
        np.zeros(32),
        -np.zeros(32),
        np.where(i % 2, 0.0, -0.0),
        np.where(i == 31, 1e-3, 0.0),
        np.where(i % 2, 4.0, -4.0),  # two extremes
        np.where(i % 2, -4.0, 4.0),
        np.where(i == 17, -3.0, np.where(i == 16, 3.0, 0.5)),
        i - 16.0,
    ]


def q5_0():
    blocks = common() + [np.where(i == 0, -16.0, (i % 31) - 15.5)]  # scale 1: ties
    blocks += [ramp * 16 * 65504, ramp * 16 * 65521, ramp * 3.4e38]
    blocks += [ramp * 2.0**-e * f for e in (14, 20, 21, 22, 110, 123, 124, 125, 140) for f in (1.0, 1.37)]
    return blocks + list(ordinary())


def mxfp4():
    halves = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 7], f32)  # ties, and past the largest
    edges = np.concatenate([halves, np.nextafter(halves, f32(0)), np.nextafter(halves, f32(9)), [6.0] * 8])
    blocks = common() + [edges, -edges, edges * 2.0**-9, edges * 2.0**60, edges * 2.0**-100]
    blocks += [ramp * 2.0**e * 1.37 for e in (-123, -100, -20, 0, 90, 126)] + [ramp * 3.0e38]
    return blocks + list(ordinary())


with open(sys.argv[1], "wb") as f:
    for kind, blocks in ((T.Q5_0, q5_0()), (T.MXFP4, mxfp4())):
        x = np.array([np.asarray(b, np.float64).astype(f32) for b in blocks])
        encoded = np.concatenate([quantize(row[None], kind).reshape(1, -1) for row in x])
        for name, array in ((kind.name + "_x", x), (kind.name, encoded)):
            data = array.tobytes()
            f.write(name.encode().ljust(24, b"\0") + struct.pack("<Q", len(data)) + data)
