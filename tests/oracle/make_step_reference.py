"""Losses and gradients of one training step, as torch has them: for tests of distill/train/student.h.

    python tests/oracle/make_step_reference.py tests/data

writes tests/data/step-{qwen2,llama,mla}/ (three small dense students, F32, without a tokenizer) and
tests/data/golden/step-{qwen2,llama,mla}.safetensors. The networks are those of transformers; every
document runs alone, at positions 0, 1, ..., so what a packed sequence hides is not hidden by a mask
here. All arithmetic is F64 (transformers' norms and rotary tables would go through F32, so they are
written out below), results are stored in F32, sums in F64. In a golden file, T = 2 * 48:

    tokens, start, target   [2][48] I32: as in bl_batch; target -1: nothing is scored here
    hidden, head            [T][20], [V][20] F32, all BF16 values: the teacher, logits = head @ hidden
    sampled.*               first [T + 1], id (I32), weight (F32): 16 draws from the teacher, weights
                            count / 16; nothing where target is -1
    topk.*                  first, id, weight: the teacher's 4 likeliest ids; tail [T]: its other mass
    logits                  [T][V] of the student
    LOSS.sums               F64: scored tokens, loss, cross-entropy, divergence, as in bl_step_sums
    LOSS.entropy            F64: sum of -t ln t over the entries of the target: what a divergence
                            without the teacher's entropy leaves out
    LOSS.grad.TENSOR        F32: d loss / d tensor

    LOSS      kd   ce   divergence     T   target
    ce         0   1
    sampled  0.7  0.3   KL(t || s)     1   sampled.*
    full       1   0    KL(t || s)     2   hidden, head; times T^2 = 4
    reverse    1   0    KL(s || t)     1   hidden, head
    jsd        1   0    JSD, beta 0.3  1   hidden, head
    topk       1   0    KL(t || s)     1   topk.* made to add up to 1
    bucket     1   0    KL(t || s)     1   topk.* and all other ids as one entry with tail

ce and sampled have the gradients of all tensors, the others of four. Made with torch 2.15,
transformers 5.23, safetensors 0.8.0.
"""
import json
import os
import sys
import types

import torch
from safetensors.torch import save_file
from transformers import (DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM)

V, SEQS, POSITIONS, TEACHER, DRAWS, TOP = 96, 2, 48, 20, 16, 4
BEGINS = ((0, 17, 18), (0,))
SHAPE = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, vocab_size=V,
             max_position_embeddings=256, bos_token_id=0, eos_token_id=1, hidden_act="silu")


def students():
    """name: config.json as published, class of the config, class of the model, tensors for the short losses"""
    qwen2 = dict(SHAPE, architectures=["Qwen2ForCausalLM"], model_type="qwen2", num_attention_heads=4,
                 num_key_value_heads=2, rms_norm_eps=1e-6, rope_theta=10000.0, sliding_window=4096,
                 use_sliding_window=False, tie_word_embeddings=False, torch_dtype="float32")
    rope = dict(rope_type="llama3", rope_theta=100.0, factor=8.0, low_freq_factor=1.0,
                high_freq_factor=4.0, original_max_position_embeddings=32)
    llama = dict(SHAPE, architectures=["LlamaForCausalLM"], model_type="llama", num_attention_heads=8,
                 num_key_value_heads=2, head_dim=12, rms_norm_eps=1e-5, attention_bias=False,
                 mlp_bias=False, rope_parameters=rope, tie_word_embeddings=True, dtype="float32")
    yarn = dict(type="yarn", factor=4.0, original_max_position_embeddings=64, beta_fast=32,
                beta_slow=1, mscale=1.0, mscale_all_dim=0.7)
    mla = dict(SHAPE, architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3",
               num_attention_heads=4, num_key_value_heads=4, q_lora_rank=16, kv_lora_rank=12,
               qk_nope_head_dim=6, qk_rope_head_dim=8, v_head_dim=10, n_routed_experts=4,
               num_experts_per_tok=2, n_shared_experts=1, n_group=1, topk_group=1,
               moe_intermediate_size=16, first_k_dense_replace=2, moe_layer_freq=1,
               norm_topk_prob=True, routed_scaling_factor=2.5, scoring_func="sigmoid",
               topk_method="noaux_tc", rms_norm_eps=1e-6, rope_theta=10000.0, rope_scaling=yarn,
               tie_word_embeddings=False, torch_dtype="float32")
    common = ["model.layers.0.mlp.down_proj.weight", "model.layers.1.input_layernorm.weight"]
    return {
        "step-qwen2": (qwen2, Qwen2Config, Qwen2ForCausalLM,
                       common + ["lm_head.weight", "model.layers.0.self_attn.k_proj.bias"]),
        "step-llama": (llama, LlamaConfig, LlamaForCausalLM,
                       common + ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"]),
        "step-mla": (mla, DeepseekV3Config, DeepseekV3ForCausalLM,
                     common + ["lm_head.weight", "model.layers.0.self_attn.kv_b_proj.weight"]),
    }


def build(config, kind, make):
    known = {k: v for k, v in config.items() if k not in ("torch_dtype", "dtype", "rope_theta", "rope_scaling")}
    if "rope_theta" in config:
        rope = dict(config.get("rope_scaling") or dict(rope_type="default"), rope_theta=config["rope_theta"])
        rope["rope_type"] = rope.pop("type", None) or rope["rope_type"]
        known["rope_parameters"] = rope
    return make(kind(**known, attn_implementation="sdpa")).float().eval()


def fill(model, generator):
    with torch.no_grad():
        for name, p in model.named_parameters():
            around = 1.0 if "norm" in name else 0.0
            p.copy_(around + torch.randn(p.shape, generator=generator) * (0.25 if p.ndim > 1 else 0.4))


def norm_forward(self, x):
    return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


def rotary_forward(self, x, position_ids):
    angle = position_ids[..., None].double() * self.inv_freq.double()
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos() * self.attention_scaling, angle.sin() * self.attention_scaling


def in_float64(model):
    inv_freq = model.model.rotary_emb.inv_freq.clone()
    model = model.double()
    model.model.rotary_emb.inv_freq = inv_freq
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = types.MethodType(norm_forward, module)
        elif type(module).__name__.endswith("RotaryEmbedding"):
            module.forward = types.MethodType(rotary_forward, module)
    return model


def texts(generator):
    tokens = torch.randint(0, V, (SEQS, POSITIONS), generator=generator)
    start = torch.zeros(SEQS, POSITIONS, dtype=torch.long)
    target = torch.full((SEQS, POSITIONS), -1, dtype=torch.long)
    for s, begins in enumerate(BEGINS):
        for a, b in zip(begins, begins[1:] + (POSITIONS,)):
            start[s, a:b] = a
            target[s, a:b - 1] = tokens[s, a + 1:b]
    return tokens, start, target


def run(model, tokens):
    rows = []
    for s, begins in enumerate(BEGINS):
        for a, b in zip(begins, begins[1:] + (POSITIONS,)):
            rows.append(model(tokens[None, s, a:b], use_cache=False).logits[0])
    return torch.cat(rows)


def entries(prefix, rows):
    """rows: for each token a list of (id, weight)"""
    first = [0]
    for row in rows:
        first.append(first[-1] + len(row))
    return {f"{prefix}.first": torch.tensor(first, dtype=torch.int32),
            f"{prefix}.id": torch.tensor([i for row in rows for i, _ in row], dtype=torch.int32),
            f"{prefix}.weight": torch.tensor([w for row in rows for _, w in row], dtype=torch.float32)}


def teacher(target, generator):
    hidden = torch.randn(SEQS * POSITIONS, TEACHER, generator=generator).bfloat16().float()
    head = (torch.randn(V, TEACHER, generator=generator) * 0.5).bfloat16().float()
    p = (hidden.double() @ head.double().T).softmax(-1)
    sampled, top, tail = [], [], torch.zeros(SEQS * POSITIONS)
    for t, scored in enumerate(target.reshape(-1) >= 0):
        sampled.append([])
        top.append([])
        if scored:
            drawn = torch.multinomial(p[t], DRAWS, replacement=True, generator=generator)
            sampled[t] = [(int(i), int(n) / DRAWS) for i, n in zip(*drawn.unique(return_counts=True))]
            ids = sorted(p[t].topk(TOP).indices.tolist())
            kept = p[t][ids].float()
            top[t] = list(zip(ids, kept.tolist()))
            tail[t] = 1 - kept.double().sum()
    return {"hidden": hidden, "head": head, "topk.tail": tail} | entries("sampled", sampled) | entries("topk", top)


def dense(data, prefix, rows):
    """The entries of the scored tokens as a matrix [scored][V]."""
    first, out = data[f"{prefix}.first"].tolist(), torch.zeros(len(rows), V, dtype=torch.float64)
    for i, t in enumerate(rows):
        piece = slice(first[t], first[t + 1])
        out[i, data[f"{prefix}.id"][piece].long()] = data[f"{prefix}.weight"][piece].double()
    return out


def kl(a, b):
    """sum of a ln(a / b); where a is 0, nothing"""
    return (torch.special.xlogy(a, a) - torch.special.xlogy(a, b)).sum()


def losses(logits, target, data):
    """name: [loss, cross-entropy, divergence], entropy of the target"""
    target = target.reshape(-1)
    rows = (target >= 0).nonzero()[:, 0]
    z, told = logits[rows], data["hidden"].double() @ data["head"].double().T
    ce = -z.log_softmax(-1).gather(1, target[rows, None]).sum()
    s, t = z.softmax(-1), told[rows].softmax(-1)
    s2, t2 = (z / 2).softmax(-1), (told[rows] / 2).softmax(-1)
    sampled, top = dense(data, "sampled", rows), dense(data, "topk", rows)
    tail = data["topk.tail"].double()[rows, None]
    kept = top > 0
    renormalised = top / top.sum(-1, keepdim=True)
    bucket_s = torch.cat((torch.where(kept, s, 0.0), torch.where(kept, 0.0, s).sum(-1, keepdim=True)), -1)
    bucket_t = torch.cat((top, tail), -1)
    m = 0.3 * t + 0.7 * s
    jsd = 0.3 * kl(t, m) + 0.7 * kl(s, m)
    kd = {"sampled": (kl(sampled, s), sampled), "full": (kl(t2, s2), t2), "reverse": (kl(s, t), t),
          "jsd": (jsd, t), "topk": (kl(renormalised, s), renormalised), "bucket": (kl(bucket_t, bucket_s), bucket_t)}
    out = {"ce": ((ce, ce, torch.zeros(())), None)}
    for name, (d, distribution) in kd.items():
        loss = {"sampled": 0.7 * d + 0.3 * ce, "full": 4 * d}.get(name, d)
        out[name] = ((loss, ce, d), -torch.special.xlogy(distribution, distribution).sum())
    return len(rows), out


def write(root, name, config, kind, make, short, seed):
    g = torch.Generator().manual_seed(seed)
    model = build(config, kind, make)
    fill(model, g)
    tokens, start, target = texts(g)
    data = {k: v.to(torch.int32) for k, v in dict(tokens=tokens, start=start, target=target).items()} | teacher(target, g)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    os.makedirs(f"{root}/{name}", exist_ok=True)
    save_file(weights, f"{root}/{name}/model.safetensors", metadata={"format": "pt"})
    with open(f"{root}/{name}/config.json", "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")
    model = in_float64(model)
    logits = run(model, tokens)
    data["logits"] = logits.detach().float()
    parameters = dict(model.named_parameters())
    scored, all_losses = losses(logits, target, data)
    for loss, (sums, entropy) in all_losses.items():
        chosen = list(parameters) if loss in ("ce", "sampled") else short
        grads = torch.autograd.grad(sums[0], [parameters[n] for n in chosen], retain_graph=True)
        data[f"{loss}.sums"] = torch.tensor([scored] + [x.item() for x in sums], dtype=torch.float64)
        if entropy is not None:
            data[f"{loss}.entropy"] = torch.tensor([entropy.item()], dtype=torch.float64)
        for n, grad in zip(chosen, grads):
            data[f"{loss}.grad.{n}"] = grad.float().contiguous()
    save_file(data, f"{root}/golden/{name}.safetensors")


def main(root):
    for seed, (name, (config, kind, make, short)) in enumerate(students().items()):
        write(root, name, config, kind, make, short, seed + 11)


if __name__ == "__main__":
    main(sys.argv[1])
