"""Time the Python gguf package on the matrix of bench_encode.c: best of three, one thread."""
import time

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import quantize

ROWS, COLS = 4096, 7168
x = np.random.default_rng(1).standard_normal((ROWS, COLS), dtype=np.float32) * 0.02
for kind in (T.Q8_0, T.Q4_0):
    best = 1e9
    for _ in range(3):
        start = time.perf_counter()
        quantize(x, kind)
        best = min(best, time.perf_counter() - start)
    print(f"{kind.name:5} {x.nbytes / best * 1e-6:8.0f} MB/s  {x.size / best * 1e-6:7.0f} Mvalues/s")
