#!/usr/bin/env python3
"""Codes of a small matrix by GPTQ as its paper writes it (arXiv 2210.17323, algorithm 1), in F64.

Static groups (scales of Q4_0, from the weights as they were), activation order, and the upper
Cholesky factor of the inverse: nothing of it is how quantize/gptq.c does it. Needs numpy. Output:
tests/unit/quantize/gptq_codes.inc, one row of hexadecimal digits for each row of the matrix.
"""

import numpy as np

ROWS, COLS, TOKENS, DAMPING = 5, 160, 400, 0.05
MASK = (1 << 64) - 1


class Numbers:
    """The generator of tests/unit/quantize/test_gptq.c: F32 in (-1, 1)."""

    def __init__(self, seed):
        self.seed = seed

    def next(self):
        self.seed = (self.seed * 6364136223846793005 + 1442695040888963407) & MASK
        high = self.seed >> 32
        return float(np.float32((high - (1 << 32) if high >= 1 << 31 else high) * 2.0**-31))


def inputs():
    numbers = Numbers(1)
    x = np.zeros((TOKENS, COLS))
    for t in range(TOKENS):
        last = 0.0
        for j in range(COLS):
            last = float(np.float32(numbers.next() * (1 + j * 5 % 7) + 0.8 * last))
            x[t, j] = last
    return x


def weights():
    numbers = Numbers(2)
    return np.array([[numbers.next() for _ in range(COLS)] for _ in range(ROWS)])


def scales(w):
    """d of Q4_0 for every element: the value of largest magnitude becomes -8."""
    blocks = w.reshape(ROWS, COLS // 32, 32)
    at = np.abs(blocks).argmax(axis=2)[:, :, None]
    d = (np.take_along_axis(blocks, at, 2) / -8).astype(np.float32).astype(np.float16)
    return np.repeat(d.astype(np.float64), 32, axis=2).reshape(ROWS, COLS)


def gptq(w, d, h):
    h = h + DAMPING * np.diag(h).mean() * np.eye(COLS)
    order = np.argsort(-np.diag(h), kind="stable")
    w, d = w[:, order].copy(), d[:, order]
    u = np.linalg.cholesky(np.linalg.inv(h[np.ix_(order, order)])).T
    code = np.zeros((ROWS, COLS), dtype=int)
    margin = 1.0
    for i in range(COLS):
        exact = w[:, i] / d[:, i] + 8
        q = np.clip(np.floor(exact + 0.5), 0, 15)
        inside = (exact > 0) & (exact < 15)
        margin = min(margin, np.abs(exact - np.floor(exact) - 0.5)[inside].min(initial=1.0))
        error = (w[:, i] - d[:, i] * (q - 8)) / u[i, i]
        w[:, i:] -= np.outer(error, u[i, i:])
        code[:, i] = q
    assert margin > 2e-5, margin  # far enough from a tie for F32 to decide alike
    back = np.empty_like(code)
    back[:, order] = code
    return back


def main():
    x, w = inputs(), weights()
    print("/* By tests/oracle/gptq.py. */")
    for row in gptq(w, scales(w), x.T @ x / TOKENS):
        digits = "".join(f"{c:x}" for c in row)
        for at in range(0, COLS, 80):
            print(f'"{digits[at:at + 80]}"' + ("," if at + 80 == COLS else ""))


if __name__ == "__main__":
    main()
