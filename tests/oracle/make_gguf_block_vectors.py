"""Golden vectors for the GGUF block encodings that only sources have, from the package gguf.

    python tests/oracle/make_gguf_block_vectors.py tests/data/golden/gguf_blocks.bin

Needs numpy and gguf 0.19. Records as in make_block_vectors.py: random bytes with finite scales
under the type's name, the values under NAME_f32.
"""
import struct
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize

rng = np.random.default_rng(20250122)
# type: where its F16 scales begin
SCALES = {
    T.Q4_1: (0, 2), T.Q5_0: (0,), T.Q5_1: (0, 2), T.Q2_K: (80, 82), T.Q3_K: (108,), T.Q4_K: (0, 2),
    T.Q5_K: (0, 2), T.Q6_K: (208,), T.IQ4_NL: (0,), T.IQ4_XS: (0,), T.MXFP4: (),
}

with open(sys.argv[1], "wb") as f:
    for kind, scales in SCALES.items():
        length, size = GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (16 if length == 32 else 4, size), dtype=np.uint8)
        for at in scales:
            blocks[:, at + 1] &= 0xBF  # neither infinite nor NaN
        if kind == T.MXFP4:
            blocks[:4, 0] = 0, 1, 2, 252
            blocks[4:, 0] %= 253
        values = dequantize(blocks, kind).astype(np.float32)
        assert np.isfinite(values).all() and values.size == len(blocks) * length
        for name, array in ((kind.name, blocks), (kind.name + "_f32", values)):
            data = array.tobytes()
            f.write(name.encode().ljust(24, b"\0") + struct.pack("<Q", len(data)) + data)
