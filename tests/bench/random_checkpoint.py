#!/usr/bin/env python3
"""A checkpoint of random weights with another model's tokenizer: something to time training on.

    random_checkpoint.py DIR TOKENIZER SHAPE [VOCABULARY [SEED]]

SHAPE: small   dense DeepSeek-V3, hidden 128, 4 layers, intermediate 400: the student of distill_quality.sh
       large   Qwen2, hidden 512, 8 layers, intermediate 1408
       teacher Qwen2, hidden 256, 1 layer, intermediate 256: its answers mean nothing, and cost little
TOKENIZER is a checkpoint folder; VOCABULARY (default: its own) may be larger. F32. Needs numpy, safetensors.
"""
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

QWEN2 = dict(architectures=["Qwen2ForCausalLM"], model_type="qwen2", rms_norm_eps=1e-6, rope_theta=10000.0, sliding_window=4096,
             use_sliding_window=False)
DEEPSEEK = dict(architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", rms_norm_eps=1e-6, rope_theta=10000.0,
                n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1, n_group=1, topk_group=1, moe_intermediate_size=64,
                moe_layer_freq=1, norm_topk_prob=True, routed_scaling_factor=1.0, scoring_func="sigmoid", topk_method="noaux_tc")
SHAPES = {
    "small": dict(DEEPSEEK, hidden_size=128, num_hidden_layers=4, first_k_dense_replace=4, intermediate_size=400,
                  num_attention_heads=4, num_key_value_heads=4, q_lora_rank=64, kv_lora_rank=32, qk_nope_head_dim=32,
                  qk_rope_head_dim=16, v_head_dim=32),
    "large": dict(QWEN2, hidden_size=512, num_hidden_layers=8, intermediate_size=1408, num_attention_heads=8,
                  num_key_value_heads=4),
    "teacher": dict(QWEN2, hidden_size=256, num_hidden_layers=1, intermediate_size=256, num_attention_heads=4,
                    num_key_value_heads=4),
}


def attention(c):
    h, heads = c["hidden_size"], c["num_attention_heads"]
    if "kv_lora_rank" in c:
        q, kv, nope, rope, v = (c[k] for k in ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
        return {"q_a_proj.weight": (q, h), "q_a_layernorm.weight": (q,), "q_b_proj.weight": (heads * (nope + rope), q),
                "kv_a_proj_with_mqa.weight": (kv + rope, h), "kv_a_layernorm.weight": (kv,),
                "kv_b_proj.weight": (heads * (nope + v), kv), "o_proj.weight": (h, heads * v)}
    d = h // heads
    rows = {"q_proj": h, "k_proj": c["num_key_value_heads"] * d, "v_proj": c["num_key_value_heads"] * d}
    return ({f"{n}.weight": (r, h) for n, r in rows.items()} | {f"{n}.bias": (r,) for n, r in rows.items()} |
            {"o_proj.weight": (h, h)})


def tensors(c):
    h, f, v = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    layer = {f"self_attn.{n}": s for n, s in attention(c).items()}
    layer |= {"mlp.gate_proj.weight": (f, h), "mlp.up_proj.weight": (f, h), "mlp.down_proj.weight": (h, f),
              "input_layernorm.weight": (h,), "post_attention_layernorm.weight": (h,)}
    out = {"model.embed_tokens.weight": (v, h), "lm_head.weight": (v, h), "model.norm.weight": (h,)}
    return out | {f"model.layers.{i}.{n}": s for i in range(c["num_hidden_layers"]) for n, s in layer.items()}


def value(name, shape, random):
    if name.endswith("norm.weight"):
        return np.ones(shape, np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    return random.standard_normal(shape, np.float32) * np.float32(0.02)


def main(out, tokenizer, shape, vocabulary=None, seed=1):
    source, out = Path(tokenizer), Path(out)
    theirs = json.loads((source / "config.json").read_text())
    config = dict(SHAPES[shape], vocab_size=int(vocabulary or theirs["vocab_size"]), max_position_embeddings=4096, hidden_act="silu",
                  bos_token_id=theirs["bos_token_id"], eos_token_id=theirs["eos_token_id"], tie_word_embeddings=False,
                  torch_dtype="float32")
    random = np.random.default_rng(int(seed))
    out.mkdir(parents=True, exist_ok=True)
    save_file({n: value(n, s, random) for n, s in tensors(config).items()}, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (source / name).exists():
            shutil.copyfile(source / name, out / name)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
