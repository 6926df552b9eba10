#!/usr/bin/env python3
"""Training a student in torch and transformers: the other side of train.sh.

    train_torch.py STUDENT [--loss ce|sparse|full] [--batch SEQS] [--positions N] [--steps N] [--threads N]
                   [--entries N] [--teacher-hidden N] [--attention sdpa|eager] [--optimizer fused|foreach] [--lr X] [--clip X]
                   [--stock-malloc]

F32 weights and arithmetic, random tokens, AdamW, gradients clipped: a step is what `baleen distill train` does in a step.
sparse: forward KL with --entries ids a token. full: forward KL with the teacher's head times its hidden states. Prints tokens/s
(the median step after three) and peak memory. Needs torch, transformers.

The defaults are what was fastest on two cores: sdpa and the fused optimizer by a few per cent, and a malloc that keeps what was
freed (without it every step maps its logits anew: a quarter more time), for which the program starts itself again.
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 36), "MALLOC_TOP_PAD_": str(1 << 28)}


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("student", type=Path)
    p.add_argument("--loss", choices=("ce", "sparse", "full"), default="sparse")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--positions", type=int, default=256)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--entries", type=int, default=30)
    p.add_argument("--teacher-hidden", type=int, default=256)
    p.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa")
    p.add_argument("--optimizer", choices=("fused", "foreach"), default="fused")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--stock-malloc", action="store_true")
    o = p.parse_args()
    if not o.stock_malloc and any(os.environ.get(k) != v for k, v in KEEPING.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEPING})
    return o


def sparse_loss(z, ids, weights):
    """sum of w ln(w / p) without its constant, for weights that add up to 1"""
    return (z.logsumexp(-1) - (weights * z.gather(-1, ids)).sum(-1)).mean()


class Data:
    """A fresh batch each step, and what the loss makes of it; drawing is not timed."""

    def __init__(self, o, vocabulary):
        self.o, self.v = o, vocabulary
        self.random = torch.Generator().manual_seed(1)
        if o.loss == "full":
            self.head = torch.randn(vocabulary, o.teacher_hidden, generator=self.random) * 0.1

    def draw(self):
        o, n = self.o, self.o.batch * self.o.positions
        self.tokens = torch.randint(0, self.v, (o.batch, o.positions + 1), generator=self.random)
        if o.loss == "sparse":
            self.ids = torch.randint(0, self.v, (n, o.entries), generator=self.random)
            self.weights = torch.rand(n, o.entries, generator=self.random)
            self.weights /= self.weights.sum(-1, keepdim=True)
        elif o.loss == "full":
            self.hidden = torch.randn(n, o.teacher_hidden, generator=self.random)

    def loss(self, z):
        z = z.view(-1, self.v)
        if self.o.loss == "ce":
            return cross_entropy(z, self.tokens[:, 1:].reshape(-1))
        if self.o.loss == "sparse":
            return sparse_loss(z, self.ids, self.weights)
        with torch.no_grad():
            target = (self.hidden @ self.head.T).softmax(-1)
        return cross_entropy(z, target)


def main():
    o = options()
    torch.set_num_threads(o.threads)
    model = AutoModelForCausalLM.from_pretrained(o.student, dtype=torch.float32, attn_implementation=o.attention).train()
    n_parameters = sum(p.numel() for p in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=o.lr, betas=(0.9, 0.95), weight_decay=0.1, **{o.optimizer: True})
    data = Data(o, json.loads((o.student / "config.json").read_text())["vocab_size"])
    seconds, loss = [], None
    for _ in range(o.steps + 3):
        data.draw()
        begin = time.perf_counter()
        loss = data.loss(model(data.tokens[:, :-1], use_cache=False).logits)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), o.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss = loss.item()
        seconds.append(time.perf_counter() - begin)
    rate = o.batch * o.positions / statistics.median(seconds[3:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"torch {torch.__version__} {o.loss} {o.attention} {o.optimizer}: {n_parameters} parameters, {o.batch} x {o.positions}, "
          f"{o.threads} threads: {rate:.0f} tokens/s, peak {peak:.0f} MiB, loss {loss:.4f}")


if __name__ == "__main__":
    main()
