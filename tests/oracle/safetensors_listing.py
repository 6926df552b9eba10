#!/usr/bin/env python3
"""Write the golden listings of safetensors files by the PyPI package `safetensors` (0.8.0).

    safetensors_listing.py OUT.tsv FILE...

One line a tensor, tab-separated: file, name, dtype, shape (dimensions joined by x; empty for a
scalar), bytes, FNV-1a-64 of the bytes. Made for the tests with, in tests/:

    oracle/safetensors_listing.py data/golden/nano-r1.tensors.tsv data/nano-r1/*.safetensors
    oracle/safetensors_listing.py data/golden/corpus.tensors.tsv corpus/safetensors/good-*.safetensors
"""
import os
import sys

from safetensors import deserialize


def fnv1a64(data):
    h = 0xcbf29ce484222325
    for b in data:
        h = ((h ^ b) * 0x100000001b3) & 0xffffffffffffffff
    return h


def main():
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        for path in sys.argv[2:]:
            with open(path, "rb") as f:
                table = deserialize(f.read())
            for name, t in sorted(table):
                shape = "x".join(str(d) for d in t["shape"])
                data = t["data"]
                out.write(f"{os.path.basename(path)}\t{name}\t{t['dtype']}\t{shape}\t{len(data)}\t{fnv1a64(data):016x}\n")


if __name__ == "__main__":
    main()
