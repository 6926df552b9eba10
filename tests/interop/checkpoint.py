"""Checkpoint directories as numpy sees them: the independent reader that the scripts in this folder judge by.

Reads safetensors shards with nothing but json, struct and numpy, decodes FP8 E4M3 with 128x128 scales (value times
scale_inv of its block, edge blocks included) and compressed-tensors pack-quantized int4 to float32, and evaluates
tokens by llama.cpp's perplexity rule. It trusts its input: refusing bad files is what the C tests are about.
"""
import json
import mmap
import struct
from pathlib import Path

import ml_dtypes
import numpy as np

DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8,
}
NAMES = {np.dtype(v): k for k, v in DTYPES.items()}
BLOCK = 128


class Checkpoint:
    """All tensors of a directory: names -> (dtype name, shape, where). Arrays are copies."""

    def __init__(self, directory):
        self.dir, self.tensors, self._maps = Path(directory), {}, {}
        config = self.dir / "config.json"
        self.config = json.loads(config.read_text()) if config.exists() else {}
        for path in sorted(self.dir.glob("*.safetensors")):
            self._read(path)

    @classmethod
    def of_file(cls, path):
        """One safetensors file alone."""
        self = cls.__new__(cls)
        self.dir, self.config, self.tensors, self._maps = Path(path).parent, {}, {}, {}
        self._read(Path(path))
        return self

    def _read(self, path):
        with open(path, "rb") as f:
            data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self._maps[path] = data
        (n,) = struct.unpack("<Q", data[:8])
        for name, t in json.loads(data[8 : 8 + n]).items():
            if name != "__metadata__":
                begin, end = (8 + n + o for o in t["data_offsets"])
                self.tensors[name] = (t["dtype"], tuple(t["shape"]), path, begin, end)

    def __contains__(self, name):
        return name in self.tensors

    def raw(self, name):
        """The tensor in its stored element type."""
        dtype, shape, path, begin, end = self.tensors[name]
        return np.frombuffer(self._maps[path][begin:end], dtype=DTYPES[dtype]).reshape(shape)

    def f32(self, name):
        """The tensor decoded to float32, whatever it is stored as; `name` is that of the plain weight."""
        stem = name.removesuffix(".weight")
        if stem + ".weight_packed" in self:
            return decode_int4(self.raw(stem + ".weight_packed"), self.raw(stem + ".weight_scale"), self.raw(stem + ".weight_shape"))
        x = self.raw(name).astype(np.float32)
        if name + "_scale_inv" in self:
            x = x * expand(self.raw(name + "_scale_inv"), x.shape)
        return x

    def shape_of(self, name):
        """The shape of a weight as the network sees it, packed or plain."""
        stem = name.removesuffix(".weight")
        if stem + ".weight_packed" in self:
            n, words = self.tensors[stem + ".weight_packed"][1]
            return n, words * 8
        return self.tensors[name][1]

    def weights(self):
        """Names of plain tensors: scales and packed parts folded into the weight that they belong to."""
        out = []
        for name in self.tensors:
            if name.endswith(".weight_packed"):
                out.append(name.removesuffix("_packed"))
            elif not name.endswith(("_scale_inv", ".weight_scale", ".weight_shape")):
                out.append(name)
        return out


def expand(scale, shape):
    """A scale per 128x128 block, repeated to the matrix it belongs to."""
    return np.repeat(np.repeat(scale, BLOCK, 0), BLOCK, 1)[: shape[0], : shape[1]]


def unpack_int4(packed):
    """int32 [N, K/8] -> int8 [N, K] in -8..7: element i of a word in bits 4i..4i+3, stored plus 8."""
    words = packed.view(np.uint32)
    q = (words[:, :, None] >> np.arange(0, 32, 4, dtype=np.uint32)) & 15
    return q.astype(np.int8).reshape(packed.shape[0], -1) - 8


def pack_int4(q):
    """The inverse of unpack_int4."""
    u = (q.astype(np.int16) + 8).astype(np.uint32).reshape(q.shape[0], -1, 8)
    words = np.bitwise_or.reduce(u << np.arange(0, 32, 4, dtype=np.uint32), axis=2)
    return words.astype(np.uint32).view(np.int32)


def decode_int4(packed, scale, shape):
    """w = q * scale in float32, exact: 4 bits times the 8 of a BF16 scale."""
    q = unpack_int4(packed)
    n, k = (int(v) for v in shape)
    if q.shape != (n, k) or scale.shape[0] != n or k % scale.shape[1]:
        raise ValueError(f"packed {packed.shape}, scale {scale.shape}, shape {(n, k)} do not fit")
    return q.astype(np.float32) * np.repeat(scale.astype(np.float32), k // scale.shape[1], axis=1)


def write_safetensors(path, tensors):
    """Write {name: array}; header padded to 8, metadata {"format": "pt"} as transformers wants."""
    head, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, x in tensors.items():
        head[name] = {"dtype": NAMES[x.dtype], "shape": list(x.shape), "data_offsets": [offset, offset + x.nbytes]}
        offset += x.nbytes
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            f.write(np.ascontiguousarray(x).tobytes())


def chunks(ids, bos, n_ctx=512):
    """llama.cpp's perplexity chunks: ids (BOS first) cut by n_ctx, tail dropped, each first token replaced by BOS."""
    n = len(ids) // n_ctx
    out = np.array(ids[: n * n_ctx], dtype=np.int64).reshape(n, n_ctx)
    out[:, 0] = bos
    return out
