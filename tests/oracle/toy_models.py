"""Three very small random models, for what nano-r1 does not reach, and what transformers computes.

    python tests/oracle/toy_models.py tests/data

writes tests/data/<name>/ and tests/data/golden/<name>.safetensors for
- toy-qwen2: grouped-query attention with biases, untied head, BF16
- toy-llama: llama3 rotary scaling, tied head, heads x head_dim != hidden, F16; 24 query heads, so
  that the heads do not fit into one group
- toy-mla: DeepSeek-V3 as its relatives have it (Moonlight, V2-Lite): no q_lora, one expert group,
  two shared experts, plain rotary frequencies, 20 heads; F32
Weights are rounded to the stored type before the F32 pass, so both programs see the same values.
Made with torch 2.x, transformers 5.23, safetensors 0.8.0.
"""
import json
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import (DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM)

SHAPE = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, vocab_size=50,
             max_position_embeddings=128, bos_token_id=0, eos_token_id=1)


def fill(model, dtype):
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, p in model.named_parameters():
            around = 1.0 if "norm" in name else 0.0
            x = around + torch.randn(p.shape, generator=g) * (0.25 if p.ndim > 1 else 0.4)
            p.copy_(x.to(dtype).float())
        for name, b in model.named_buffers():
            if "e_score_correction_bias" in name:
                b.copy_(torch.randn(b.shape, generator=g) * 0.2)


def published(weights):
    """transformers 5 stacks experts; a published checkpoint has each in its own tensors."""
    out = {}
    for name, w in weights.items():
        if name.endswith("experts.gate_up_proj"):
            for e, both in enumerate(w):
                gate, up = both.chunk(2)
                stem = name.removesuffix("gate_up_proj")
                out[f"{stem}{e}.gate_proj.weight"] = gate.contiguous()
                out[f"{stem}{e}.up_proj.weight"] = up.contiguous()
        elif name.endswith("experts.down_proj"):
            for e, down in enumerate(w):
                out[f"{name.removesuffix('down_proj')}{e}.down_proj.weight"] = down.contiguous()
        else:
            out[name] = w
    return out


def write(root, name, model, config, dtype):
    ids = torch.randint(0, SHAPE["vocab_size"], (70,), generator=torch.Generator().manual_seed(3))
    fill(model, dtype)
    capture = {}
    for i, layer in enumerate(model.model.layers):
        layer.post_attention_layernorm.register_forward_pre_hook(
            lambda _, args, i=i: capture.setdefault(i, args[0][0]))
    with torch.no_grad():
        out = model(ids[None], output_hidden_states=True)
    golden = {"input_ids": ids.to(torch.int32), "logits": out.logits[0]}
    golden |= {f"hidden.{i}": h[0].contiguous() for i, h in enumerate(out.hidden_states)}
    os.makedirs(f"{root}/{name}", exist_ok=True)
    if hasattr(model.config, "n_routed_experts"):
        for i, layer in enumerate(model.model.layers):
            if hasattr(layer.mlp, "gate"):
                x = layer.post_attention_layernorm(capture[i])
                _, w, e = layer.mlp.gate(x)
                order = e.argsort(-1)
                golden[f"router.{i}.experts"] = e.gather(1, order).to(torch.int32)
                golden[f"router.{i}.weights"] = w.gather(1, order).detach()
    weights = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()
               if not (config.get("tie_word_embeddings") and k == "lm_head.weight")}
    save_file(published(weights), f"{root}/{name}/model.safetensors", metadata={"format": "pt"})
    save_file(golden, f"{root}/golden/{name}.safetensors")
    with open(f"{root}/{name}/config.json", "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")


def main(root):
    qwen2 = dict(SHAPE, architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_act="silu",
                 num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6, rope_theta=10000,
                 sliding_window=4096, use_sliding_window=False, tie_word_embeddings=False,
                 torch_dtype="bfloat16")
    rope = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                high_freq_factor=4.0, original_max_position_embeddings=32)
    llama = dict(SHAPE, architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu",
                 num_attention_heads=24, num_key_value_heads=12, head_dim=4, rms_norm_eps=1e-5,
                 attention_bias=False, mlp_bias=False, rope_parameters=rope,
                 tie_word_embeddings=True, dtype="float16")
    mla = dict(SHAPE, architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3",
               hidden_act="silu", num_attention_heads=20, num_key_value_heads=20, q_lora_rank=None,
               kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=6,
               n_routed_experts=5, num_experts_per_tok=2, n_shared_experts=2, n_group=1,
               topk_group=1, moe_intermediate_size=16, first_k_dense_replace=1, moe_layer_freq=1,
               norm_topk_prob=True, routed_scaling_factor=2.446, scoring_func="sigmoid",
               topk_method="noaux_tc", rms_norm_eps=1e-5, rope_theta=50000.0,
               tie_word_embeddings=False, torch_dtype="float32")
    for name, config, kind, make, dtype in (
            ("toy-qwen2", qwen2, Qwen2Config, Qwen2ForCausalLM, torch.bfloat16),
            ("toy-llama", llama, LlamaConfig, LlamaForCausalLM, torch.float16),
            ("toy-mla", mla, DeepseekV3Config, DeepseekV3ForCausalLM, torch.float32)):
        known = {k: v for k, v in config.items() if k not in ("torch_dtype", "dtype", "rope_theta")}
        if "rope_theta" in config:
            known["rope_parameters"] = dict(rope_type="default", rope_theta=float(config["rope_theta"]))
        model = make(kind(**known, attn_implementation="eager")).float().eval()
        write(root, name, model, config, dtype)


if __name__ == "__main__":
    main(sys.argv[1])
