#!/usr/bin/env python3
"""Five steps of torch.optim.AdamW: weights that distill/train/adamw.c must arrive at.

One matrix that decays and one vector that does not, a rate of its own for each step, and gradients of
the generator below. Needs torch. Output: tests/unit/distill/adamw_steps.inc, weights after each step as
hexadecimal floats, the matrix before the vector.
"""

import torch

ROWS, COLS, VECTOR, STEPS = 5, 7, 11, 5
BETAS, EPS, DECAY = (0.9, 0.95), 1e-8, 0.1
MASK = (1 << 64) - 1


class Numbers:
    """The generator of tests/unit/distill/test_adamw.c: F32 in (-1, 1)."""

    def __init__(self, seed):
        self.seed = seed

    def next(self, n):
        out = []
        for _ in range(n):
            self.seed = (self.seed * 6364136223846793005 + 1442695040888963407) & MASK
            high = self.seed >> 32
            out.append((high - (1 << 32) if high >= 1 << 31 else high) * 2.0**-31)
        return torch.tensor(out, dtype=torch.float64).to(torch.float32)


def main():
    numbers = Numbers(1)
    matrix = torch.nn.Parameter(numbers.next(ROWS * COLS).reshape(ROWS, COLS))
    vector = torch.nn.Parameter(numbers.next(VECTOR))
    optimizer = torch.optim.AdamW(
        [{"params": [matrix], "weight_decay": DECAY}, {"params": [vector], "weight_decay": 0.0}],
        lr=1.0, betas=BETAS, eps=EPS, foreach=False)
    with open("tests/unit/distill/adamw_steps.inc", "w") as out:
        out.write("/* Made by tests/oracle/adamw.py: weights after each step. */\n")
        for step in range(STEPS):
            for p in (matrix, vector):
                p.grad = numbers.next(p.numel()).reshape(p.shape) * 10.0 ** (step - 2)
            for group in optimizer.param_groups:
                group["lr"] = 0.01 * (step + 1)
            optimizer.step()
            values = torch.cat([matrix.detach().flatten(), vector.detach()])
            out.write("{ " + ",\n  ".join(float(v).hex() + "f" for v in values) + " },\n")


main()
