#!/usr/bin/env python3
"""Are the bytes of a GGUF file those that numpy and the Python gguf package make from the same FP8 checkpoint?

  gguf_bytes.py DIR X.gguf [--type Q8_0] [--keep NAME=TYPE ...]

Every tensor is made again here: FP8 decoded in F32 (value times scale_inv of its 128x128 block), laid out as llama.cpp's
deepseek2 wants it (experts stacked on the slowest axis, kv_b split per head into k_b, transposed, and v_b), encoded
by gguf.quants, and compared byte for byte, names and extents included. Matrices must have the type given (default: the
file's most frequent), norms, router and router bias F32, other tensors are named with --keep. gguf.quants encodes F32,
F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4. Exit 1 on any difference.
"""
import argparse
import collections
import re
import sys

import gguf
import numpy as np

from checkpoint import Checkpoint

WHOLE = {"model.embed_tokens": "token_embd", "lm_head": "output", "model.norm": "output_norm"}
LAYER = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp", "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}


def split_kv_b(w, config):
    """[heads * (nope + v), lora] -> k_b [heads, lora, nope] (transposed per head), v_b [heads, v, lora]."""
    nope, v = config["qk_nope_head_dim"], config["v_head_dim"]
    w = w.reshape(config["num_attention_heads"], nope + v, -1)
    return w[:, :nope].transpose(0, 2, 1), w[:, nope:]


def layouts(src):
    """GGUF name -> a function that makes its float32 array, slowest axis first. The MTP layer is left out."""
    out = {f"{new}.weight": lambda n=f"{old}.weight": src.f32(n) for old, new in WHOLE.items() if f"{old}.weight" in src}
    for i in range(src.config["num_hidden_layers"]):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        for old, new in LAYER.items():
            if f"{p}{old}.weight" in src:
                out[f"{b}{new}.weight"] = lambda n=f"{p}{old}.weight": src.f32(n)
        kv_b = p + "self_attn.kv_b_proj.weight"
        out[b + "attn_k_b.weight"] = lambda n=kv_b: split_kv_b(src.f32(n), src.config)[0]
        out[b + "attn_v_b.weight"] = lambda n=kv_b: split_kv_b(src.f32(n), src.config)[1]
        if p + "mlp.gate.e_score_correction_bias" in src:
            out[b + "exp_probs_b.bias"] = lambda n=p + "mlp.gate.e_score_correction_bias": src.f32(n)
        if p + "mlp.experts.0.gate_proj.weight" in src:
            for kind in ("gate", "up", "down"):
                names = [f"{p}mlp.experts.{e}.{kind}_proj.weight" for e in range(src.config["n_routed_experts"])]
                out[f"{b}ffn_{kind}_exps.weight"] = lambda n=names: np.stack([src.f32(x) for x in n])
    return out


def expected_type(name, main, keep):
    if name in keep:
        return keep[name]
    if re.search(r"(_norm|ffn_gate_inp)\.weight$|\.bias$", name):
        return "F32"
    return main


def compare(tensor, array, want):
    """None, or what differs between a tensor of the file and its float32 array encoded here."""
    if tensor.tensor_type.name != want:
        return f"type {tensor.tensor_type.name}, expected {want}"
    shape = tuple(int(n) for n in reversed(tensor.shape))
    if shape != array.shape:
        return f"extents {shape}, expected {array.shape}, slowest first"
    mine = gguf.quants.quantize(np.ascontiguousarray(array), gguf.GGMLQuantizationType[want])
    mine, theirs = mine.tobytes(), tensor.data.tobytes()
    if mine == theirs:
        return None
    if len(mine) != len(theirs):
        return f"{len(theirs)} bytes, expected {len(mine)}"
    off = np.flatnonzero(np.frombuffer(mine, np.uint8) != np.frombuffer(theirs, np.uint8))
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[want]]
    blocks = np.unique(off // size)
    return f"{len(off)} of {len(mine)} bytes differ, in {len(blocks)} of {len(mine) // size} blocks of {block}, first at byte {off[0]}"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("dir")
    ap.add_argument("gguf")
    ap.add_argument("--type")
    ap.add_argument("--keep", action="append", default=[], metavar="NAME=TYPE")
    a = ap.parse_args()
    want, reader = layouts(Checkpoint(a.dir)), gguf.GGUFReader(a.gguf)
    have = {t.name: t for t in reader.tensors}
    kinds = collections.Counter(t.tensor_type.name for t in reader.tensors if len(t.shape) > 1)
    main_type = a.type or kinds.most_common(1)[0][0]
    keep, bad, nbytes = dict(k.split("=") for k in a.keep), [], 0
    bad += [f"{n}: not in the file" for n in want if n not in have] + [f"{n}: not expected" for n in have if n not in want]
    for name in want:
        if name in have:
            nbytes += have[name].n_bytes
            difference = compare(have[name], want[name](), expected_type(name, main_type, keep))
            bad += [f"{name}: {difference}"] if difference else []
    for line in bad:
        print(line)
    print(f"{a.gguf}: {len(want)} tensors, {nbytes} bytes, matrices {main_type}: " + (f"{len(bad)} differ" if bad else "all equal"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
