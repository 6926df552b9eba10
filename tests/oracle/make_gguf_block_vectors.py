"""Golden vectors for the GGUF block encodings that only sources have, from the package gguf.

    python tests/oracle/make_gguf_block_vectors.py tests/data/golden/gguf_blocks.bin GGML_DEQUANTIZE

Needs numpy, xxhash, gguf 0.19 and ggml_dequantize.c of this folder, built. Records as in
make_block_vectors.py: random bytes with finite scales under the type's name, the values under
NAME_f32; under NAME_hash the XXH3-64 of the values of 2048 blocks, enough to meet every entry of the
codebooks, whose bytes random_bytes() below makes. Values are those of the package; ggml's own code, which alone knows Q1_0 and Q2_0, must
give the same bits. Neither decodes Q8_1 and Q8_K (activations): the definition, d * q.
"""
import struct
import subprocess
import sys

import numpy as np
import xxhash
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize

rng = np.random.default_rng(20250122)
SIZES = {t.name: (int(t), *GGML_QUANT_SIZES[t]) for t in T}
SIZES |= {"Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18), "Q8_1": (9, 32, 36)}  # the package still has F32 scales in Q8_1
# type: where its F16 scales begin
SCALES = {
    "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2),
    "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,), "IQ4_XS": (0,), "MXFP4": (),
    "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ3_XXS": (0,), "IQ1_S": (0,), "IQ3_S": (0,), "IQ2_S": (0,), "IQ1_M": (54,),
    "TQ1_0": (52,), "TQ2_0": (64,), "NVFP4": (), "Q1_0": (0,), "Q2_0": (0,), "Q8_1": (0, 2), "Q8_K": (2,),
}
ORACLE = {"Q1_0": "ggml", "Q2_0": "ggml", "Q8_1": "definition", "Q8_K": "definition"}


def from_ggml(name, blocks):
    done = subprocess.run([sys.argv[2], str(SIZES[name][0])], input=blocks.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


def values_of(name, blocks):
    length, oracle = SIZES[name][1], ORACLE.get(name, "package")
    if oracle == "definition":
        d = blocks[:, :4].copy().view(np.float32) if name == "Q8_K" else blocks[:, :2].copy().view(np.float16).astype(np.float32)
        return (d * blocks[:, 4 : 4 + length].view(np.int8).astype(np.float32)).ravel()
    ggml = from_ggml(name, blocks)
    if oracle == "package":
        package = dequantize(blocks, T[name]).astype(np.float32).ravel()
        assert (package.view(np.uint32) == ggml.view(np.uint32)).all(), name
    return ggml


def finite(name, blocks):
    for at in SCALES[name]:
        blocks[:, at + 1] &= 0xBF  # neither infinite nor NaN
    if name == "MXFP4":
        blocks[:, 0] %= 253
    return blocks


def random_bytes(n):
    """The top bytes of a congruential generator: the unit test has the same."""
    state, out = 1, bytearray()
    for _ in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append(state >> 56)
    return np.frombuffer(bytes(out), np.uint8).copy()


with open(sys.argv[1], "wb") as f:
    for name in SCALES:
        number, length, size = SIZES[name]
        blocks = finite(name, rng.integers(0, 256, (16 if length == 32 else 4, size), dtype=np.uint8))
        if name == "MXFP4":
            blocks[:4, 0] = 0, 1, 2, 252
        values = values_of(name, blocks)
        many = values_of(name, finite(name, random_bytes(2048 * size).reshape(2048, size)))
        assert np.isfinite(values).all() and values.size == len(blocks) * length and np.isfinite(many).all()
        hashed = np.array([xxhash.xxh3_64_intdigest(many.tobytes())], np.uint64)
        for record, array in ((name, blocks), (name + "_f32", values), (name + "_hash", hashed)):
            data = array.tobytes()
            f.write(record.encode().ljust(24, b"\0") + struct.pack("<Q", len(data)) + data)
