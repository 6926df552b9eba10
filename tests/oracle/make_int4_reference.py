#!/usr/bin/env python3
"""Make a compressed-tensors pack-quantized int4 directory (symmetric, group 128) from an FP8 checkpoint, without baleen.

  make_int4_reference.py DIR OUT [--scale 7.5]

What it is for: to find out, before and apart from our own exporter, what transformers and compressed-tensors really
load (tests/interop/transformers_int4.py judges this directory and baleen's alike). Rules as in docs/interop.md:
- every linear layer whose input length is a multiple of 128 becomes .weight_packed, .weight_scale, .weight_shape;
- lm_head, embeddings, norms, router, and of the MTP layer eh_proj and shared_head.head stay BF16 (router bias F32), as
  does kv_b_proj where its input length is no multiple of 128; each such linear layer is named in `ignore`;
- group scale = amax / 7.5 (the library's rule) rounded to BF16, and q = clamp(round_half_even(w / scale), -8, 7) with
  the rounded scale, so that what is stored is the nearest code to what will be computed with; a scale that would be
  zero is 2^-23, as in the library.
"""
import argparse
import json
import shutil
import sys
from pathlib import Path

import ml_dtypes
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "interop"))
from checkpoint import Checkpoint, pack_int4, write_safetensors

GROUP = 128
NEVER = ("lm_head", "embed_tokens", "eh_proj", "shared_head.head", "mlp.gate")


def quantize(w, divisor):
    """float32 [N, K] -> codes int8 [N, K], scale BF16 [N, K/GROUP]."""
    groups = w.reshape(w.shape[0], -1, GROUP)
    scale = (np.abs(groups).max(axis=2) / np.float32(divisor)).astype(ml_dtypes.bfloat16)
    scale[scale == 0] = 2.0**-23
    q = np.clip(np.rint(groups / scale.astype(np.float32)[:, :, None]), -8, 7).astype(np.int8)
    return q.reshape(w.shape), scale


def export(src, divisor):
    """Every tensor of the new directory, and the linear layers left as they are."""
    out, ignore = {}, []
    for name in src.weights():
        stem = name.removesuffix(".weight")
        linear = stem.endswith(("_proj", "_proj_with_mqa", "lm_head", "shared_head.head", "mlp.gate"))
        shape = src.tensors[name][1]
        if not linear:
            out[name] = src.raw(name)
        elif stem.endswith(NEVER) or shape[1] % GROUP:
            out[name] = src.f32(name).astype(ml_dtypes.bfloat16)
            ignore.append(stem)
        else:
            q, scale = quantize(src.f32(name), divisor)
            out[stem + ".weight_packed"] = pack_int4(q)
            out[stem + ".weight_scale"] = scale
            out[stem + ".weight_shape"] = np.array(shape, dtype=np.int64)
    return out, ignore


def quantization_config(ignore):
    weights = {
        "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": GROUP, "dynamic": False,
        "actorder": None, "block_structure": None, "observer": "minmax", "observer_kwargs": {},
    }
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None, "output_activations": None}
    return {
        "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
        "kv_cache_scheme": None, "ignore": ignore, "config_groups": {"group_0": group},
    }


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("src")
    ap.add_argument("out")
    ap.add_argument("--scale", type=float, default=7.5, help="the divisor of a group's largest magnitude")
    a = ap.parse_args()
    src, out = Checkpoint(a.src), Path(a.out)
    tensors, ignore = export(src, a.scale)
    out.mkdir(parents=True)
    write_safetensors(out / "model.safetensors", tensors)
    config = {**src.config, "quantization_config": quantization_config(ignore)}
    (out / "config.json").write_text(json.dumps(config, indent=2))
    for side in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        if (src.dir / side).exists():
            shutil.copy(src.dir / side, out / side)
    packed = sum(n.endswith(".weight_packed") for n in tensors)
    print(f"{packed} packed weights, {len(ignore)} linear layers left in BF16, {len(tensors)} tensors")


if __name__ == "__main__":
    main()
