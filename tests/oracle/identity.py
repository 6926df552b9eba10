#!/usr/bin/env python3
"""Print the identity of a Hugging Face folder as docs/format-stats.md, section 5, has it (pip install
numpy xxhash torch safetensors): the values that tests/unit/formats/test_identity.c expects."""
import json
import pathlib
import struct
import sys

import torch
import xxhash
from safetensors import safe_open

folder = pathlib.Path(sys.argv[1])
c = json.loads((folder / "config.json").read_text())
where = {}
for path in sorted(folder.glob("*.safetensors")):
    with safe_open(path, "pt") as f:
        where |= {name: path for name in f.keys()}
h = xxhash.xxh3_128()


def u32(*numbers):
    h.update(struct.pack(f"<{len(numbers)}I", *map(int, numbers)))


def f32(x):
    h.update(struct.pack("<f", x))


def tensor(name):
    with safe_open(where[name], "pt") as f:
        t = f.get_tensor(name).float().to(torch.bfloat16)
    h.update(name.encode() + b"\0" + t.contiguous().view(torch.int16).numpy().tobytes())


rope = c.get("rope_parameters") or c
mla = c.get("kv_lora_rank")
heads = c["num_attention_heads"]
name = {"llama": "llama", "qwen2": "qwen2"}.get(c["model_type"], "deepseek2")
h.update(b"baleen identity 1\0" + name.encode() + b"\0")
u32(c["vocab_size"], c["hidden_size"], c["num_hidden_layers"], c["intermediate_size"])
f32(c["rms_norm_eps"])
u32(heads)
if mla:
    u32(c["q_lora_rank"] or 0, mla, c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"])
else:
    u32(c["num_key_value_heads"], c.get("head_dim") or c["hidden_size"] // heads)
f32(rope["rope_theta"])
experts = c.get("n_routed_experts") or 0
u32(experts)
if experts:
    grouped = c["topk_group"] < c["n_group"]
    u32(c["num_experts_per_tok"], c["n_shared_experts"], c["moe_intermediate_size"], c["first_k_dense_replace"],
        c["n_group"] if grouped else 1, c["topk_group"] if grouped else 1, c["scoring_func"] == "sigmoid",
        c["norm_topk_prob"])
    f32(c["routed_scaling_factor"])
tensor("model.norm.weight")
for layer in range(c["num_hidden_layers"]):
    p = f"model.layers.{layer}."
    tensor(p + "input_layernorm.weight")
    tensor(p + "post_attention_layernorm.weight")
    for part in ("q_proj.bias", "k_proj.bias", "v_proj.bias", "q_a_layernorm.weight", "kv_a_layernorm.weight"):
        if p + "self_attn." + part in where:
            tensor(p + "self_attn." + part)
    for part in ("weight", "e_score_correction_bias"):
        if p + "mlp.gate." + part in where:
            tensor(p + "mlp.gate." + part)
print(h.hexdigest())
