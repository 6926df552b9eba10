#!/usr/bin/env python3
"""GFLOP/s of plain OpenBLAS, in one call of cblas_sgemm: the ceiling for tests/bench/bench_linear.c.

    sgemm.py LIBOPENBLAS N_THREADS TOKENSxROWSxCOLS ...

Y[tokens, rows] = X[tokens, cols] W[rows, cols]^T in F32, best of three. Needs numpy for memory only.
"""
import ctypes
import sys
import time

import numpy as np

if len(sys.argv) < 4:
    sys.exit(__doc__)
blas = ctypes.CDLL(sys.argv[1])
blas.openblas_set_num_threads(int(sys.argv[2]))
blas.openblas_get_corename.restype = ctypes.c_char_p
print("kernel", blas.openblas_get_corename().decode())
ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE = 101, 111, 112
for shape in sys.argv[3:]:
    m, n, k = (int(v) for v in shape.split("x"))
    x, w, y = (np.full(s, 0.5, np.float32) for s in ((m, k), (n, k), (m, n)))
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        blas.cblas_sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, m, n, k, ctypes.c_float(1), x.ctypes.data_as(ctypes.c_void_p), k,
                         w.ctypes.data_as(ctypes.c_void_p), k, ctypes.c_float(0), y.ctypes.data_as(ctypes.c_void_p), n)
        best = min(best, time.perf_counter() - start)
    print(f"{n:>6} x {k:>6} x {m:>5} tokens {best:8.3f} s {2 * m * n * k / best / 1e9:8.1f} GFLOP/s")
