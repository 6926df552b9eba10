#!/usr/bin/env python3
"""What is lost at int4, groups of 128? Our methods against rounding to nearest and plain GPTQ on the same calibration tokens.

  int4_fidelity.py BALEEN MODEL --calib TEXT --eval TEXT... [--tokens 8192 ...] [--judge 16384] [--sequential] [--work DIR]
  int4_fidelity.py BALEEN MODEL --calib TEXT --eval TEXT... --hessians q4_k_s [--tokens 4096 ...] [--judge 16384] [--work DIR]

MODEL is a checkpoint folder. Plain GPTQ is tests/oracle/gptq_plain.py (torch, transformers), run by this Python; ours are `baleen
quantize --type int4` by method. All folders have the same matrices in int4 and the same bytes. Each is judged by the mean KL
divergence to MODEL (`baleen verify`) on --judge tokens of each evaluation text: the divergence, its standard error, and its ratio
to rounding to nearest (RTN) and to the better plain GPTQ of those tokens. --sequential: both sides also with inputs from
quantized layers. --hessians TYPE: instead, GPTQ to a GGUF file of TYPE with the three ways to get its statistics.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ORACLE = Path(__file__).resolve().parent.parent / "oracle" / "gptq_plain.py"
PLAIN = {"plain GPTQ": [], "plain GPTQ, ordered": ["--scales", "static", "--order"]}
HESSIANS = {"own H (default)": [], "--shared-hessian": ["--shared-hessian"], "--sequential": ["--sequential"]}


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"int4_fidelity: {' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout


class Bench:
    def __init__(self, o):
        self.o, self.work = o, Path(o.work or tempfile.mkdtemp())
        self.work.mkdir(parents=True, exist_ok=True)
        self.base = self.best = None

    def ours(self, out, *words, kind="int4"):
        run(self.o.baleen, "quantize", self.o.model, "-o", self.work / out, "--type", kind, "--force", *words)
        return self.work / out

    def plain(self, out, n, words):
        run(sys.executable, ORACLE, self.o.model, self.work / "rtn", self.work / out, "--text", self.o.calib, "--tokens", n, *words)
        return self.work / out

    def judge(self, out):
        """Bytes, and (mean, standard error) of each text."""
        kl = []
        for text in self.o.eval:
            said = json.loads(run(self.o.baleen, "verify", out, "--against", self.o.model, "--text", text, "--tokens", self.o.judge, "--json"))
            kl.append((said["mean_kld"], said["mean_kld_error"]))
        return said["file_bytes"], kl

    def row(self, label, n, out):
        size, kl = self.judge(out)
        cells = [f"{mean:9.6f} +- {error:8.6f}" for mean, error in kl]
        for base in (self.base, self.best):
            cells += [f"{mean / b:6.3f}" for (mean, _), b in zip(kl, base or ())] or [" " * 6] * len(kl)
        print(f"{label:<32} {n or '-':>7} {size:>10} {' '.join(cells)}", flush=True)
        return [mean for mean, _ in kl]

    def header(self, *bases):
        names = [Path(t).name.split(".")[0] for t in self.o.eval]
        heads = [f"{'KL ' + n:>21}" for n in names] + [f"{'/' + b:>6}" for b in bases for _ in names]
        print(f"{'':<32} {'tokens':>7} {'bytes':>10} {' '.join(heads)}")

    def int4(self):
        self.header("RTN", "GPTQ")
        self.base = self.row("RTN = plain", None, self.ours("rtn", "--method", "plain"))
        self.row("search", None, self.ours("search", "--method", "search"))
        for n in self.o.tokens:
            self.best = None
            plain = [self.row(label, n, self.plain("peer", n, words)) for label, words in PLAIN.items()]
            if self.o.sequential:
                plain += [self.row(label + ", sequential", n, self.plain("peer", n, [*words, "--sequential"])) for label, words in PLAIN.items()]
            self.best = [min(column) for column in zip(*plain)]
            stats = self.work / "stats.safetensors"
            run(self.o.baleen, "calibrate", self.o.model, "--text", self.o.calib, "--tokens", n, "-o", stats, "--force")
            self.row("search --stats", n, self.ours("ours", "--method", "search", "--stats", stats))
            for words in [[], ["--sequential"]][: 1 + self.o.sequential]:
                gptq = ["--method", "gptq", "--text", self.o.calib, "--tokens", n, *words]
                self.row(" ".join(["gptq", *words]), n, self.ours("ours", *gptq))

    def hessians(self, kind):
        self.header("own")
        for n in self.o.tokens:
            self.base = None
            for label, words in HESSIANS.items():
                out = self.ours("ours.gguf", "--method", "gptq", "--text", self.o.calib, "--tokens", n, *words, kind=kind)
                mean = self.row(label, n, out)
                self.base = self.base or mean


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("baleen")
    p.add_argument("model")
    p.add_argument("--calib", required=True)
    p.add_argument("--eval", nargs="+", required=True)
    p.add_argument("--tokens", nargs="+", type=int, default=[8192, 32768, 131072])
    p.add_argument("--judge", type=int, default=16384)
    p.add_argument("--sequential", action="store_true")
    p.add_argument("--hessians", metavar="TYPE")
    p.add_argument("--work")
    o = p.parse_args()
    bench = Bench(o)
    if o.hessians:
        bench.hessians(o.hessians)
    else:
        bench.int4()


if __name__ == "__main__":
    main()
