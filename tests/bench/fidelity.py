#!/usr/bin/env python3
"""What is lost at equal size? Our quantizer, step by step, against llama-quantize with an importance matrix.

  fidelity.py LLAMA_BIN BALEEN MODEL --calib TEXT --eval TEXT... [--types Q4_K_M ...] [--steps all,...] [--work DIR] [--probe N]

LLAMA_BIN holds llama-perplexity, llama-imatrix and llama-quantize (docs/interop.md says how to build them). MODEL is a checkpoint
folder. Both sides calibrate on the same text: llama-imatrix on the F32 file, `baleen calibrate --sensitivity` on MODEL. For each
type llama-quantize makes its file; ours may have no more bytes of tensors. Then llama-perplexity --kl-divergence judges every
file on every evaluation text against the F32 file: mean KL divergence, and its ratio to llama-quantize's.

  plain    the named recipe, rounding by definition          stats    with the importance of columns
  search   the named recipe, scales searched                 gptq     the recipe, rounding with feedback
  budget   types by measured sensitivity at the peer's size, scales searched with importance
  all      the same and rounding with feedback

--no-repack: repacked kernels crash on small deepseek2 files. Flash attention off and F32 cache: nothing but weights differs.
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
STEPS = {
    "plain": ["recipe", "--method", "plain"],
    "search": ["recipe", "--method", "search"],
    "stats": ["recipe", "--method", "search", "stats"],
    "gptq": ["recipe", "--method", "gptq", "stats"],
    "budget": ["size", "--method", "search", "stats"],
    "all": ["size", "--method", "gptq", "stats"],
}


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        sys.exit(f"fidelity: {' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


class Bench:
    def __init__(self, o):
        self.o, self.bin, self.work = o, Path(o.llama_bin), Path(o.work or tempfile.mkdtemp())
        self.work.mkdir(parents=True, exist_ok=True)
        self.f32, self.imatrix = self.work / "f32.gguf", self.work / "imatrix.gguf"
        self.stats = self.work / "stats.safetensors"

    def make_once(self, file, *command):
        if not file.exists():
            run(*command)

    def prepare(self):
        o = self.o
        self.make_once(self.f32, o.baleen, "convert", o.model, "-o", self.f32, "--dtype", "f32")
        self.make_once(self.imatrix, self.bin / "llama-imatrix", "-m", self.f32, "-f", o.calib, "-o", self.imatrix, "--no-ppl",
                       "--no-repack", "-t", os.cpu_count())
        self.make_once(self.stats, o.baleen, "calibrate", o.model, "--text", o.calib, "-o", self.stats, "--sensitivity",
                       *(["--probe-tokens", o.probe] if o.probe else []))
        for text in o.eval:
            base = self.base(text)
            self.make_once(base, self.bin / "llama-perplexity", "-m", self.f32, "-f", text, *EXACT, "--kl-divergence-base", base)

    def base(self, text):
        return self.work / (Path(text).name + ".base")

    def kl(self, file, text):
        """Mean divergence and its error. The tool's logger sometimes loses its last lines: then again."""
        for _ in range(20):
            log = run(self.bin / "llama-perplexity", "-m", file, "-f", text, *EXACT, "--kl-divergence-base", self.base(text),
                      "--kl-divergence")
            found = re.search(r"Mean\s+KLD:\s*(\S+)", log)
            if found:
                return float(found.group(1))
        sys.exit(f"fidelity: llama-perplexity lost its last lines 20 times on {file}")

    def sizes(self, file):
        said = json.loads(run(self.o.baleen, "inspect", file, "--json"))
        return said["tensor_bytes"], said["file_bytes"]

    def theirs(self, name):
        file = self.work / f"peer-{name}.gguf"
        self.make_once(file, self.bin / "llama-quantize", "--imatrix", self.imatrix, self.f32, file, name, os.cpu_count())
        return file

    def ours(self, name, step, tensor_bytes):
        file = self.work / f"ours-{step}.gguf"
        words, header = [], self.sizes(self.f32)
        for word in STEPS[step]:
            if word == "recipe":
                words += ["--type", name.lower()]
            elif word == "size":
                words += ["--size", tensor_bytes + header[1] - header[0]]
            elif word == "stats":
                words += ["--stats", self.stats]
            else:
                words.append(word)
        if "gptq" in words:
            words += ["--text", self.o.calib]
        run(self.o.baleen, "quantize", self.o.model, "-o", file, "--force", *words)
        return file

    def row(self, label, file, peer):
        tensors, _ = self.sizes(file)
        kl = [self.kl(file, text) for text in self.o.eval]
        ratios = [f"{k:10.6f} {k / p:6.3f}" for k, p in zip(kl, peer or kl)]
        print(f"{label:<22} {tensors:>12} {' '.join(ratios)}", flush=True)
        return kl

    def table(self):
        heads = " ".join(f"{Path(t).name[:10]:>10} {'ratio':>6}" for t in self.o.eval)
        print(f"{'':<22} {'tensor bytes':>12} {heads}")
        for name in self.o.types:
            file = self.theirs(name)
            peer = self.row(f"llama.cpp {name}", file, None)
            for step in self.o.steps.split(","):
                self.row(f"  {step}", self.ours(name, step, self.sizes(file)[0]), peer)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("llama_bin")
    p.add_argument("baleen")
    p.add_argument("model")
    p.add_argument("--calib", required=True)
    p.add_argument("--eval", nargs="+", required=True)
    p.add_argument("--types", nargs="+", default=["Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_M", "Q2_K"])
    p.add_argument("--steps", default="all")
    p.add_argument("--work")
    p.add_argument("--probe", type=int)
    bench = Bench(p.parse_args())
    bench.prepare()
    bench.table()


if __name__ == "__main__":
    main()
