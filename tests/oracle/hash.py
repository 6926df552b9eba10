#!/usr/bin/env python3
"""Print the XXH3 and SHA-256 values that tests/unit/base/test_hash.c expects (pip install xxhash)."""

import hashlib

import xxhash

print("xxhash", xxhash.VERSION)
for n in (0, 1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 1024, 1025, 100000):
    data = bytes(i * 131 % 251 for i in range(n))
    h128 = xxhash.xxh3_128_intdigest(data)
    low, high = h128 & (1 << 64) - 1, h128 >> 64
    print(f"{{ {n}, {xxhash.xxh3_64_intdigest(data):#x}, {low:#x}, {high:#x} }},")

for n in (0, 1, 3, 55, 56, 64, 1024, 100000, 2 * 2**20 + 5):
    data = bytes(i * 131 % 251 for i in range(n))
    print(f'{{ {n}, "{hashlib.sha256(data).hexdigest()}" }},')
