#!/usr/bin/env python3
"""Does baleen decode and run the GGUF encodings that it does not write (codebooks, ternary, NVFP4, Q1_0, Q2_0)?

  gguf_encodings.py LLAMA_BIN BALEEN TEXT MODEL... [--types IQ1_S,TQ1_0] [--tensors REGEX | --presets] [--tokens N] [--work DIR]

LLAMA_BIN holds llama-quantize, llama-imatrix and llama-perplexity (docs/interop.md says how to build them). MODEL is a
checkpoint folder whose MLP rows divide by 256. llama-imatrix measures TEXT on its F32 file; for each type llama-quantize
makes a file of Q8_0 whose MLP matrices (--tensors) have that type; with --presets the file that it makes of its own accord
when asked for the type, a mixture. Two rows each, llama.cpp's perplexity and baleen's:

  IQ1_S       as written: llama.cpp rounds activations to 8 bits there, baleen does not    printed, judged at 2 %
  ... twin    `baleen convert --dtype f32` of it: the same weights for both              within 0.1 %

  ... scaled  NVFP4 in a Llama: the file with factors NAME.scale beside its matrices      within 2 %, as written
              (llama.cpp does not apply them to the MLPs of its other two architectures)

and every tensor of the twin must hold the values that the Python package gguf decodes (it does not know Q1_0 and Q2_0),
bit for bit. Needs numpy and gguf 0.19. Exit 1 when a row is beyond its limit, a tensor differs or a program refuses.
"""
import argparse
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
from llama_judge import Judge, run

PRESETS = "IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ3_XXS IQ3_XS IQ3_S IQ3_M TQ1_0 TQ2_0".split()
TYPES = "IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S TQ1_0 TQ2_0 NVFP4 Q1_0 Q2_0".split()


def tensors_that_differ(packed, twin):
    """How many tensors were compared; the names of those whose values are not the package's."""
    bad, ours = [], {t.name: t for t in gguf.GGUFReader(twin).tensors}
    theirs = gguf.GGUFReader(packed).tensors
    for t in theirs:
        want = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        have = ours[t.name].data
        if want.size != have.size or (want.reshape(-1).view(np.uint32) != np.asarray(have).reshape(-1).view(np.uint32)).any():
            bad.append(t.name)
    return len(theirs), bad


def with_factors(packed, out):
    """The file once more, each NVFP4 matrix with a factor (each expert with its own). Its architecture."""
    r = gguf.GGUFReader(packed)
    w = gguf.GGUFWriter(out, r.fields["general.architecture"].contents())
    for f in r.fields.values():
        if f.name.startswith("GGUF.") or f.name == "general.architecture":
            continue
        if f.types[0] == gguf.GGUFValueType.ARRAY:
            w.add_array(f.name, f.contents())
        else:
            w.add_key_value(f.name, f.contents(), f.types[0])
    for t in r.tensors:
        w.add_tensor(t.name, t.data, raw_dtype=t.tensor_type)
        if t.tensor_type == gguf.GGMLQuantizationType.NVFP4:
            n = int(t.shape[2]) if len(t.shape) == 3 else 1
            w.add_tensor(t.name.replace(".weight", ".scale"), np.linspace(0.7, 1.4, n, dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return w.arch


def one(judge, kind, f32, imatrix, tensors, work):
    packed, twin = work / "packed.gguf", work / "twin.gguf"
    how = ["--tensor-type", f"{tensors}={kind.lower()}", f32, packed, "Q8_0"] if tensors else [f32, packed, kind]
    log = run(judge.bin / "llama-quantize", "--imatrix", imatrix, *how)
    count = log.count(f"converting to {kind.lower()} ")
    if not count and tensors:
        sys.exit(f"llama-quantize made no tensor of {kind}\n{log[-3000:]}")
    run(judge.baleen, "convert", packed, "-o", twin, "--dtype", "f32", "--force", "-q")
    judge.row(kind, judge.llama(packed), judge.verify(packed), 2)
    judge.row("... twin", judge.llama(twin), judge.verify(twin), 0.1)
    if kind == "NVFP4" and tensors and with_factors(packed, work / "scaled.gguf") == "llama":
        judge.row("... scaled", judge.llama(work / "scaled.gguf"), judge.verify(work / "scaled.gguf"), 2)
    if kind in ("Q1_0", "Q2_0"):
        print(f"{'':14} {count} tensors; the package does not know the type")
        return
    n, bad = tensors_that_differ(packed, twin)
    judge.bad += len(bad)
    print(f"{'':14} {f'{count} tensors of the type' if tensors else 'a mixture'}; of {n} in the file {len(bad)} differ from the package's values {' '.join(bad[:3])}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bin")
    p.add_argument("baleen")
    p.add_argument("text")
    p.add_argument("models", nargs="+", type=Path)
    p.add_argument("--types")
    p.add_argument("--presets", action="store_true")
    p.add_argument("--tensors", default="ffn_(gate|up|down)(_exps|_shexp)?.weight", help="which matrices get the type")
    p.add_argument("--work", type=Path, help="folder for the files (default: a temporary one)")
    p.add_argument("--tokens", type=int, default=0, help="of the text, at most")
    options = p.parse_args()
    judge = Judge(options)
    print(f"{'':14} {'llama.cpp':>11} {'baleen':>11} {'off %':>8} {'max':>4}")
    for model in options.models:
        print(f"\n{model.name}")
        with tempfile.TemporaryDirectory() as temporary:
            work = options.work or Path(temporary)
            work.mkdir(parents=True, exist_ok=True)
            f32, imatrix = work / "f32.gguf", work / "imatrix.gguf"
            run(judge.baleen, "convert", model, "-o", f32, "--dtype", "f32", "--force", "-q")
            run(judge.bin / "llama-imatrix", "-m", f32, "-f", judge.text, "-o", imatrix, "-c", "512", "--no-ppl", "--no-repack")
            kinds = options.types.split(",") if options.types else PRESETS if options.presets else TYPES
            for kind in kinds:
                one(judge, kind, f32, imatrix, None if options.presets else options.tensors, work)
    sys.exit(1 if judge.bad else 0)


if __name__ == "__main__":
    main()
