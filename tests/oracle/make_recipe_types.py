#!/usr/bin/env python3
"""Which type llama-quantize gives every tensor, for the recipes that quantize/recipe.c has as tables.

  make_recipe_types.py LLAMA_QUANTIZE X.gguf ... > tests/data/recipe_types.txt

X.gguf: files of nano-r1, tiny-r1, tiny-qwen2 and tiny-llama as `baleen convert --dtype bf16` makes them. Of most a
deeper twin is made as well: more layers, other counts of heads and experts, rows that divide into blocks of 256, two rows
a matrix. Each goes through llama-quantize once for a recipe, and where that may change the answer, once with an imatrix.

Lines: "model NAME ARCH LAYERS DENSE HEADS KV_HEADS EXPERTS TIED", then "tensor NAME DIMENSIONS COLUMNS" in the order of the
GGUF file, then "recipe NAME IMPORTANCE" with the types in that order, "TYPE*COUNT" for a run of them.
Needs the Python packages gguf (0.19.0) and numpy.
"""
import os
import re
import subprocess
import sys
import tempfile

import gguf
import numpy

RECIPES = {n.lower(): n for n in ("F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S "
                                  "Q5_K_M Q6_K IQ4_NL IQ4_XS").split()}
RECIPES["mxfp4"] = "MXFP4_MOE"
WITH_IMATRIX = ("q4_0", "q5_0", "q4_k_m", "iq4_nl", "iq4_xs")
# name of the source: layers, leading dense layers, heads, heads of keys and values, experts
TWINS = {"nano-r1": (27, 3, 4, 1, 16), "tiny-qwen2": (28, 0, 12, 2, 0),
         "tiny-llama": (80, 0, 64, 8, 0)}


def facts(reader):
    """What the choice depends on, and how the keys are called."""
    arch = bytes(reader.fields["general.architecture"].parts[-1]).decode()
    get = lambda key: int(reader.fields[f"{arch}.{key}"].parts[-1][0]) if f"{arch}.{key}" in reader.fields else 0
    return arch, [get("block_count"), get("leading_dense_block_count"), get("attention.head_count"),
                  get("attention.head_count_kv"), get("expert_count")]


def deeper(source, path, twin):
    """A file with the metadata of another but for the twin's counts."""
    reader = gguf.GGUFReader(source)
    arch, _ = facts(reader)
    layers, dense, heads, kv_heads, experts = twin
    counts = {"block_count": layers, "leading_dense_block_count": dense, "attention.head_count": heads,
              "attention.head_count_kv": kv_heads, "expert_count": experts}
    w = gguf.GGUFWriter(path, arch)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = field.contents()
        if name.startswith(arch + ".") and name[len(arch) + 1:] in counts:
            value = counts[name[len(arch) + 1:]]
        kind = field.types[0]
        w.add_key_value(name, value, kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    last = max(int(m[1]) for t in reader.tensors if (m := re.match(r"blk\.(\d+)\.", t.name)))
    layer = lambda i: 0 if i < dense else last
    once = [(t.name, t) for t in reader.tensors if not t.name.startswith("blk.")]
    for i in range(layers):
        once += [(t.name.replace(f"blk.{layer(i)}.", f"blk.{i}."), t) for t in reader.tensors
                 if t.name.startswith(f"blk.{layer(i)}.")]
    for name, t in once:
        shape = [int(n) for n in reversed(t.shape)]
        if len(shape) > 1:
            shape = [2] * (len(shape) - 1) + [32 if "attn_k_b" in name else -(-shape[-1] // 256) * 256]
        w.add_tensor(name, numpy.zeros(shape, dtype=numpy.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def imatrix(path, reader):
    """An imatrix that says nothing: there is one, which is all that matters here."""
    w = gguf.GGUFWriter(path, "none")
    w.add_type("imatrix")
    w.add_array("imatrix.datasets", ["none"])
    w.add_uint32("imatrix.chunk_count", 1)
    w.add_uint32("imatrix.chunk_size", 512)
    for t in reader.tensors:
        if t.name.startswith("blk.") and len(t.shape) > 1:
            n_mat = int(t.shape[2]) if len(t.shape) > 2 else 1
            w.add_tensor(t.name + ".in_sum2", numpy.ones((n_mat, int(t.shape[0])), dtype=numpy.float32))
            w.add_tensor(t.name + ".counts", numpy.ones((n_mat, 1), dtype=numpy.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def runs(types):
    """["A", "A", "B"] as "A*2 B"."""
    out = []
    for t in types:
        if out and out[-1][0] == t:
            out[-1][1] += 1
        else:
            out.append([t, 1])
    return " ".join(t if n == 1 else f"{t}*{n}" for t, n in out)


def describe(quantize, name, path, folder):
    reader = gguf.GGUFReader(path)
    arch, (layers, dense, heads, kv_heads, experts) = facts(reader)
    names = [t.name for t in reader.tensors]
    print("model", name, arch, layers, dense, heads, kv_heads, experts, int("output.weight" not in names))
    for t in reader.tensors:
        print("tensor", t.name, len(t.shape), int(t.shape[0]))
    matrix = os.path.join(folder, "imatrix.gguf")
    imatrix(matrix, reader)
    for recipe, theirs in RECIPES.items():
        for importance in (0, 1) if recipe in WITH_IMATRIX else (0,):
            out = os.path.join(folder, "out.gguf")
            extra = ["--imatrix", matrix] if importance else []
            subprocess.run([quantize, *extra, path, out, theirs], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
            got = {t.name: t.tensor_type.name for t in gguf.GGUFReader(out).tensors}
            print("recipe", recipe, importance, runs(got[n] for n in names))


def main():
    quantize, files = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            name = os.path.basename(path).removesuffix(".gguf")
            describe(quantize, name, path, folder)
            if name not in TWINS:
                continue
            twin = os.path.join(folder, name + "-deep.gguf")
            deeper(path, twin, TWINS[name])
            describe(quantize, name + "-deep", twin, folder)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
