#!/usr/bin/env python3
"""Does llama.cpp load and run every type and recipe that `baleen quantize` writes, and say what baleen says of it?

  gguf_types.py LLAMA_BIN BALEEN TEXT MODEL... [--recipes q4_k_m,iq4_xs] [--bpw 3.9] [--tokens N] [--work DIR]

LLAMA_BIN holds llama-perplexity (docs/interop.md says how to build it). MODEL is a checkpoint folder, or whatever
`baleen quantize` reads. For each recipe (default: all) and for the budget of --bpw, `baleen quantize` makes a file and
`baleen convert` its F32 twin. Two rows each, llama.cpp's perplexity and baleen's:

  q4_k_m      as written: llama.cpp rounds activations to 8 bits there, baleen does not     printed, not judged
  ... twin    the same decoded to F32: the same weights for both                           within 0.1 %

Behind the first row: the types in the file, bits a weight, and baleen's mean KL divergence from MODEL. Exit 1 when a
twin is beyond its limit, or a program refuses a file.
"""
import argparse
import json
import sys
import tempfile
from pathlib import Path

from llama_judge import Judge, number, run

RECIPES = ("f16 bf16 q8_0 q6_k q5_k_m q5_k_s q5_0 q5_1 q4_k_m q4_k_s q4_0 q4_1 iq4_nl iq4_xs mxfp4 "
           "q3_k_l q3_k_m q3_k_s q2_k dq3_k_m").split()


def one(judge, name, model, how, work):
    packed, twin = work / "packed.gguf", work / "twin.gguf"
    said = json.loads(run(judge.baleen, "quantize", model, "-o", packed, *how, "--json", "--force", "-q", out_only=True))
    run(judge.baleen, "convert", packed, "-o", twin, "--dtype", "f32", "--force", "-q")
    ours = judge.verify(packed, "--against", model)
    types = sorted({r["type"] for r in said["roles"]} - {"F32"})
    native = number(judge.llama(packed), r"Final estimate: PPL = ([\d.]+)")
    off = abs(ours["perplexity"] / native - 1) * 100
    print(f"{name:14} {native:11.4f} {ours['perplexity']:11.4f} {off:8.4f}      {said['bits_per_weight']:6.3f} bits, "
          f"mean KL {ours['mean_kld']:.6f}: {' '.join(types)}", flush=True)
    judge.row("... twin", judge.llama(twin), judge.verify(twin), 0.1)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bin")
    p.add_argument("baleen")
    p.add_argument("text")
    p.add_argument("models", nargs="+", type=Path)
    p.add_argument("--recipes", default=",".join(RECIPES))
    p.add_argument("--bpw", help="besides, a file of so many bits a weight")
    p.add_argument("--work", type=Path, help="folder for the files (default: a temporary one)")
    p.add_argument("--tokens", type=int, default=0, help="of the text, at most")
    options = p.parse_args()
    judge = Judge(options)
    ways = [(r, ["--type", r]) for r in options.recipes.split(",") if r]
    ways += [(f"bpw {options.bpw}", ["--bpw", options.bpw])] if options.bpw else []
    print(f"{'':14} {'llama.cpp':>11} {'baleen':>11} {'off %':>8} {'max':>4}")
    for model in options.models:
        print(f"\n{model.name}")
        with tempfile.TemporaryDirectory() as temporary:
            work = options.work or Path(temporary)
            work.mkdir(parents=True, exist_ok=True)
            for name, how in ways:
                one(judge, name, model, how, work)
    sys.exit(1 if judge.bad else 0)


if __name__ == "__main__":
    main()
