#!/usr/bin/env python3
"""Does transformers load a directory of int8, asymmetric int4 or FP8, and hold the values that its bytes say?

  transformers_layout.py DIR [--dtype float32|bfloat16]

Loads DIR as a user would, decompressed (compressed-tensors) or dequantized (fp8), and compares every weight of the main
model with what numpy decodes from the bytes (layouts.py), exactly or, where the library works in BF16, rounded. No key
may be missing or unused but those of the MTP layer. Exit 1 on any difference. docs/interop.md says which versions load what.
"""
import argparse
import logging
import re
import sys
import warnings

import numpy as np
import torch

from checkpoint import Checkpoint
from layouts import decode
from transformers_int4 import round_bf16


def load(c, dtype):
    from transformers import AutoModelForCausalLM
    from transformers.utils.quantization_config import CompressedTensorsConfig, FineGrainedFP8Config

    q = c.config["quantization_config"]
    if q["quant_method"] == "fp8":
        quantization = FineGrainedFP8Config(weight_block_size=q["weight_block_size"], dequantize=True)
    else:
        quantization = CompressedTensorsConfig(run_compressed=False)
    model, info = AutoModelForCausalLM.from_pretrained(
        c.dir, dtype=getattr(torch, dtype), quantization_config=quantization, output_loading_info=True, attn_implementation="eager"
    )
    return model.eval(), info


def canonical(c):
    """Stems of the weights of the directory, parts folded."""
    ends = (".weight_packed", ".weight_shape", ".weight_zero_point", ".weight_scale", ".weight_scale_inv", ".weight_offset")
    names = {re.sub(r"\.(weight_packed|qweight)$", ".weight", n) for n in c.tensors}
    return [n for n in names if not n.endswith(ends)]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("dir")
    ap.add_argument("--dtype", default="float32")
    a = ap.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    c = Checkpoint(a.dir)
    n_layers, q = c.config["num_hidden_layers"], c.config["quantization_config"]
    model, info = load(c, a.dtype)
    have = {**dict(model.named_buffers()), **dict(model.named_parameters())}

    def is_mtp(name):
        m = re.match(r"model\.layers\.(\d+)\.", name)
        return m is not None and int(m[1]) >= n_layers

    bad = [f"missing: {n}" for n in info["missing_keys"]]
    bad += [f"unused: {n}" for n in info["unexpected_keys"] if not is_mtp(n)]
    n, n_quantized, half = 0, 0, 0
    for name in sorted(n for n in canonical(c) if not is_mtp(n)):
        stem = name.removesuffix(".weight")
        want = decode(c, stem, q, False) if name.endswith(".weight") else c.f32(name)
        m = re.fullmatch(r"(.*\.experts)\.(\d+)\.(gate|up|down)_proj\.weight", name)
        if name in have:
            got = have[name]
        elif m:  # transformers 5 stacks experts
            got = have[f"{m[1]}.{'down_proj' if m[3] == 'down' else 'gate_up_proj'}"][int(m[2])]
            width = got.shape[0] // 2
            got = got if m[3] == "down" else got[:width] if m[3] == "gate" else got[width:]
        else:
            bad.append(f"not in the model: {name}")
            continue
        got, n = got.detach().float().numpy(), n + 1
        n_quantized += name not in c.tensors or c.tensors[name][0] in ("I8", "F8_E4M3")
        if got.shape == want.shape and np.array_equal(got, want):
            continue
        if got.shape == want.shape and np.array_equal(got, round_bf16(want)):
            half += 1
            continue
        bad.append(f"{name}: {np.count_nonzero(got != want) if got.shape == want.shape else got.shape} differ")
    for line in bad[:10]:
        print(line)
    print(f"{a.dir}: {n} weights, {n_quantized} quantized, {half} rounded to BF16: " + (f"{len(bad)} differences" if bad else "all equal"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
