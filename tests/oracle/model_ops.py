"""Vectors for tests/unit/model/test_op_*.c and test_network.c, from torch and transformers.

    python tests/oracle/model_ops.py > tests/unit/model/op_vectors.inc

Inputs are not stored: value i of stream s is ((i * 7919 + s * 104729) % 2003) / 1000 - 1, which C
computes to the same float. Made with torch 2.x and transformers 5.23 (rotary scalings and the
DeepSeek-V3 router are those of transformers; softmax routing is written out here).
"""
import math

import numpy as np
import torch
from transformers import DeepseekV3Config, LlamaConfig, Qwen2Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb


def stream(s, *shape):
    i = np.arange(math.prod(shape), dtype=np.int64)
    x = ((i * 7919 + s * 104729) % 2003).astype(np.float32) / np.float32(1000) - np.float32(1)
    return torch.from_numpy(x.reshape(shape))


def emit(name, values, kind="float"):
    flat = np.asarray(values).reshape(-1)
    text = (f"{int(v)}u" if kind == "uint32_t" else f"{float(v):.9e}" + ("f" if kind == "float" else "")
            for v in flat)
    print(f"static const {kind} {name}[{len(flat)}] = {{")
    line = "   "
    for t in text:
        if len(line) + len(t) + 2 > 98:
            print(line)
            line = "   "
        line += f" {t},"
    print(line + "\n};\n")


def rope_frequencies():
    r1 = DeepseekV3Config(rope_theta=10000.0, max_position_embeddings=163840, qk_rope_head_dim=64,
                          head_dim=64, rope_parameters=dict(
                              rope_type="yarn", factor=40.0, rope_theta=10000.0, beta_fast=32,
                              beta_slow=1, mscale=1.0, mscale_all_dim=1.0,
                              original_max_position_embeddings=4096))
    llama = LlamaConfig(hidden_size=4096, num_attention_heads=32, rope_parameters=dict(
        rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
        high_freq_factor=4.0, original_max_position_embeddings=8192))
    qwen_yarn = Qwen2Config(hidden_size=1024, num_attention_heads=8, rope_parameters=dict(
        rope_type="yarn", rope_theta=1000000.0, factor=4.0, original_max_position_embeddings=32768))
    linear = LlamaConfig(hidden_size=512, num_attention_heads=8, rope_parameters=dict(
        rope_type="linear", rope_theta=10000.0, factor=2.5))
    for name, kind, config in (("yarn_r1", "yarn", r1), ("llama3_8b", "llama3", llama),
                               ("yarn_qwen", "yarn", qwen_yarn), ("linear_64", "linear", linear)):
        freq, factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
        emit(f"rope_{name}", freq.numpy())
        emit(f"rope_{name}_magnitude", [factor])


def rotations():
    """Position 3 and 100 of two heads of 8 dims, theta 100."""
    freq = 100.0 ** (-np.arange(4) * 2 / 8)
    x = stream(1, 2, 8).double().numpy()
    inter, half = [], []
    for p in (3, 100):
        z = (x[:, 0::2] + 1j * x[:, 1::2]) * np.exp(1j * p * freq)
        inter.append(np.stack([z.real, z.imag], -1).reshape(2, 8))
        angle = torch.from_numpy(np.concatenate([p * freq, p * freq]))[None, None]
        q, _ = apply_rotary_pos_emb(torch.from_numpy(x)[None, :, None], torch.from_numpy(x)[None, :, None],
                                    angle.cos(), angle.sin())
        half.append(q[0, :, 0].numpy())
    emit("rotated_interleaved", inter)
    emit("rotated_half_split", half)


def simple_ops():
    x, w = stream(2, 3, 21), stream(3, 21)
    norm = torch.nn.functional.rms_norm(x.double(), (21,), w.double(), 1e-5)
    emit("rmsnorm_rows", norm.numpy())
    emit("softmax_row", torch.softmax(stream(4, 37).double() * 9, 0).numpy())
    g, u = stream(5, 19) * 8, stream(6, 19)
    emit("swiglu_row", (torch.nn.functional.silu(g.double()) * u.double()).numpy())


def attention():
    """150 positions, own dims 6 and shared dims 4, v of 5; rows 0, 63, 64, 149 are kept."""
    q, k, kr, v = stream(7, 150, 10), stream(8, 150, 6), stream(9, 150, 4), stream(10, 150, 5)
    key = torch.cat([k, kr], 1)
    out = torch.nn.functional.scaled_dot_product_attention(
        q.double()[None], key.double()[None], v.double()[None], is_causal=True, scale=1.75)[0]
    emit("attention_rows", out[[0, 63, 64, 149]].numpy())


def router_case(name, n_experts, n_group, topk_group, k, normalise, scale, logits, bias):
    """Through transformers' router, with the identity as its weight."""
    config = DeepseekV3Config(n_routed_experts=n_experts, n_group=n_group, topk_group=topk_group,
                              num_experts_per_tok=k, norm_topk_prob=normalise,
                              hidden_size=n_experts, routed_scaling_factor=float(scale))
    router = DeepseekV3TopkRouter(config)
    router.weight.data.copy_(torch.eye(n_experts))
    router.e_score_correction_bias.copy_(bias)
    _, weights, ids = router(logits)
    order = ids.argsort(-1)
    emit(f"router_{name}_experts", ids.gather(1, order).numpy(), "uint32_t")
    emit(f"router_{name}_weights", weights.gather(1, order).detach().numpy())


def routers():
    logits, bias = stream(11, 12, 16) * 3, stream(12, 16) * 0.3
    router_case("grouped", 16, 4, 2, 3, True, 2.5, logits, bias)
    router_case("plain", 16, 1, 1, 5, True, 2.446, logits, bias)
    router_case("raw", 16, 2, 1, 4, False, 1.5, logits, bias)
    p = torch.softmax(logits.double(), -1)
    ids = p.topk(6, -1).indices.sort(-1).values
    emit("router_softmax_experts", ids.numpy(), "uint32_t")
    emit("router_softmax_weights", p.gather(1, ids).numpy())


if __name__ == "__main__":
    print("/* Made by tests/oracle/model_ops.py; not edited. */\n/* clang-format off */\n")
    rope_frequencies()
    rotations()
    simple_ops()
    attention()
    routers()
