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

Exit 1 when a row is beyond its limits.
"""
import argparse
import sys
import tempfile
from pathlib import Path

import llama_judge
from llama_judge import run


class Judge(llama_judge.Judge):
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
