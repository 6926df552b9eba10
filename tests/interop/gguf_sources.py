#!/usr/bin/env python3
"""Does baleen compute from a GGUF file what llama.cpp computes from it, and measure the same loss?

  gguf_sources.py LLAMA_BIN BALEEN TEXT MODEL... [--work DIR] [--tokens N]

LLAMA_BIN holds llama-perplexity and llama-quantize (docs/interop.md says how to build them). MODEL is a checkpoint folder
(its F32 file is made by `baleen convert`) or a GGUF file, by whoever (its F32 twin is). For each, llama-quantize makes
Q8_0 and Q4_K_M files of the F32 file, and `baleen convert` the F32 twins of those. One row a file:

  f32         the F32 file or twin                                   perplexity within 0.1 %
  published   a MODEL that is a GGUF file, as it is                  perplexity within 0.5 %
  q8_0, ...   as llama-quantize wrote it: llama.cpp rounds           perplexity within 0.5 %; divergences from the F32 file are
              activations to 8 bits there, baleen does not           printed, and include that rounding
  ... twin    the same decoded to F32: the same weights for both     perplexity within 0.1 %; mean KL divergence from the F32
              file within 2 % + 0.0002, its median, 90, 95, 99 and 99.9 % within 5 % + 0.00002 (llama.cpp keeps the base's log-probabilities in 16 bits)

Exit 1 when a row is beyond its limits. --no-repack: repacked kernels crash on small deepseek2 files.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

EXACT = ["-c", "512", "-ctk", "f32", "-ctv", "f32", "-fa", "off", "--no-repack", "-t", str(os.cpu_count())]
PERCENTILES = {"median": ("Median", "median_kld"), "90": ("90.0%", "kld_90"), "95": ("95.0%", "kld_95"),
               "99": ("99.0%", "kld_99"), "99.9": ("99.9%", "kld_99_9")}


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        sys.exit(f"gguf_sources: {' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


class Judge:
    def __init__(self, options):
        self.bin, self.baleen, self.text = Path(options.bin), options.baleen, options.text
        self.tokens, self.bad = options.tokens, 0

    def llama(self, file, *more):
        """What llama-perplexity says. Its logger sometimes loses the last lines: then again."""
        wanted = ["Mean PPL(Q)", "Same top p:"] if "--kl-divergence" in more else ["Final estimate"]
        for _ in range(20):
            log = run(self.bin / "llama-perplexity", "-m", file, "-f", self.text, *EXACT, *self.chunks(), *more)
            if all(line in log for line in wanted):
                return log
        sys.exit(f"gguf_sources: llama-perplexity lost its last lines 20 times on {file}")

    def chunks(self):
        return ["--chunks", str(self.tokens // 512)] if self.tokens else []

    def verify(self, file, *more):
        limit = ["--tokens", self.tokens // 512 * 512] if self.tokens else []
        return json.loads(run(self.baleen, "verify", file, "--text", self.text, "--json", "-q", *limit, *more))

    def row(self, name, log, ours, limit, strict=False):
        fields = [number(log, r"Mean PPL\(Q\)\s*:\s*([\d.]+)") or number(log, r"Final estimate: PPL = ([\d.]+)"),
                  ours["perplexity"]]
        off = abs(fields[1] / fields[0] - 1) * 100
        fails = [] if off <= limit else ["perplexity"]
        line = f"{name:14} {fields[0]:11.4f} {fields[1]:11.4f} {off:8.4f} {limit:4}"
        theirs = number(log, r"Mean\s+KLD:\s*(-?[\d.]+)")
        if theirs is not None:
            line += f" {theirs:9.6f} {ours['mean_kld']:9.6f} "
            if strict and abs(ours["mean_kld"] - theirs) > 0.02 * theirs + 2e-4:
                fails.append("mean KL")
            for percent, (label, key) in PERCENTILES.items():
                a, b = number(log, rf"{re.escape(label)}\s+KLD:\s*(-?[\d.]+)"), ours[key]
                line += f" {a:.6f}/{b:.6f}"
                if strict and abs(a - b) > 0.05 * a + 2e-5:
                    fails.append(f"{percent} % KL")
        self.bad += len(fails)
        print(line, " FAIL " + ", ".join(fails) if fails else " ok", flush=True)

    def model(self, model, work):
        published = model.is_file()
        f32, base = work / "f32.gguf", work / "base.bin"
        run(self.baleen, "convert", model, "-o", f32, "--dtype", "f32", "--force", "-q")
        print(f"\n{model.name}")
        self.row("f32", self.llama(f32, "--kl-divergence-base", base), self.verify(f32), 0.1)
        if published:
            self.row("published", self.llama(model), self.verify(model), 0.5)
        for kind in ("Q8_0", "Q4_K_M"):
            packed, twin = work / f"{kind}.gguf", work / f"{kind}.twin.gguf"
            run(self.bin / "llama-quantize", f32, packed, kind)
            run(self.baleen, "convert", packed, "-o", twin, "--dtype", "f32", "--force", "-q")
            divergence = ["--kl-divergence-base", base, "--kl-divergence"]
            ours = self.verify(packed, "--against", f32)
            self.row(kind.lower(), self.llama(packed, *divergence), ours, 0.5)
            self.row("... twin", self.llama(twin, *divergence), ours, 0.1, strict=True)


def number(log, pattern):
    m = re.search(pattern, log)
    return float(m[1]) if m else None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bin")
    p.add_argument("baleen")
    p.add_argument("text")
    p.add_argument("models", nargs="+", type=Path)
    p.add_argument("--work", type=Path, help="folder for the files (default: a temporary one)")
    p.add_argument("--tokens", type=int, default=0, help="of the text, at most")
    options = p.parse_args()
    judge = Judge(options)
    print(f"{'':14} {'llama.cpp':>11} {'baleen':>11} {'off %':>8} {'max':>4} {'mean KL':>9} {'baleen':>9}  KL at 50, 90, 95, 99, 99.9 %: llama.cpp/baleen")
    for model in options.models:
        with tempfile.TemporaryDirectory() as temporary:
            work = options.work / model.stem if options.work else Path(temporary)
            work.mkdir(parents=True, exist_ok=True)
            judge.model(model, work)
    sys.exit(1 if judge.bad else 0)


if __name__ == "__main__":
    main()
