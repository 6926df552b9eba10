#!/usr/bin/env python3
"""Describe a GGUF file in a small JSON that a test can hold another GGUF file against.

  make_gguf_reference.py X.gguf > X.gguf.json

Every metadata key with its exact type, every tensor with its extents in GGUF order (fastest first), its type and the
SHA-256 of its bytes. Arrays of more than 8 elements are given as length and SHA-256 of a canonical form: for strings,
each as u64 little-endian byte count and its bytes, which is their form in the file; for numbers, their bytes in the file.

tests/data/reference/nano-r1.gguf.json was made by this from the F32 file that llama.cpp's converter writes:
  llamacpp_convert.py LLAMA_CPP_SOURCE deepseek-v3 tests/data/nano-r1 --outtype f32 --outfile nano-r1.gguf
Needs the Python package gguf (0.19.0).
"""
import hashlib
import json
import sys

import gguf

LONG = 8


def array_value(field, kind):
    """An array as a list when short, else its length and a digest of its canonical form."""
    parts = [bytes(field.parts[i]) for i in field.data]
    if kind == gguf.GGUFValueType.STRING:
        canonical = b"".join(len(p).to_bytes(8, "little") + p for p in parts)
        values = [p.decode() for p in parts]
    else:
        canonical = b"".join(parts)
        values = [field.parts[i].tolist()[0] for i in field.data]
    out = {"type": "array", "of": kind.name.lower(), "length": len(parts)}
    if len(parts) <= LONG:
        return {**out, "value": values}
    return {**out, "sha256": hashlib.sha256(canonical).hexdigest()}


def field_value(field):
    """One metadata value: exact type, and the value (float32 as its shortest decimal)."""
    kind = field.types[0]
    if kind == gguf.GGUFValueType.ARRAY:
        return array_value(field, field.types[1])
    raw = field.parts[field.data[0]]
    if kind == gguf.GGUFValueType.STRING:
        value = bytes(raw).decode()
        if len(value) > 400:
            return {"type": "string", "length": len(bytes(raw)), "sha256": hashlib.sha256(bytes(raw)).hexdigest()}
    elif kind == gguf.GGUFValueType.FLOAT32:
        value = float(str(raw[0]))
    else:
        value = raw.tolist()[0]
    return {"type": kind.name.lower(), "value": value}


def describe(path):
    reader = gguf.GGUFReader(path)
    keys = {k: field_value(f) for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    tensors = {
        t.name: {
            "ne": [int(n) for n in t.shape],
            "type": t.tensor_type.name,
            "sha256": hashlib.sha256(t.data.tobytes()).hexdigest(),
        }
        for t in reader.tensors
    }
    return {"keys": keys, "tensors": tensors}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    d = describe(sys.argv[1])
    lines = ["{", '"keys": {']
    lines += [",\n".join(f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in d["keys"].items()), "},"]
    lines += ['"tensors": {', ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(d["tensors"].items())), "}", "}"]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
