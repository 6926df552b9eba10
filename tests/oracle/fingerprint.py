#!/usr/bin/env python3
"""Print the hash of a folder of safetensors files as docs/format-logits.md, section 7, has it
(pip install xxhash): the value that tests/unit/verify/test_kept_logits.c expects of nano-r1."""
import json
import pathlib
import struct
import sys

import xxhash

shards = sorted(pathlib.Path(sys.argv[1]).glob("*.safetensors"))
tensors = []
for path in shards:
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    for name, t in sorted(json.loads(data[8:8 + n]).items(), key=lambda item: item[1].get("data_offsets", [0])):
        if name != "__metadata__":
            tensors.append((name, t["dtype"], t["shape"], data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]]))
step, h = len(tensors) // 1000 + 1, xxhash.xxh3_128()
for i, (name, dtype, shape, body) in enumerate(tensors):
    h.update(name.encode() + b"\0" + dtype.encode() + b"\0" + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
    h.update(body[:1 << 20] if len(shape) < 2 else body[:4096] if i % step == 0 else b"")
print(h.hexdigest())
