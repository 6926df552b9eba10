"""What transformers' own modules met: calibration statistics of the small models, by independent code.

    python tests/oracle/make_stats.py tests/data

writes tests/data/golden/<name>.stats.safetensors for nano-r1, toy-mla and toy-qwen2, on the input_ids
of tests/data/golden/<name>.safetensors as one sequence, as docs/format-stats.md has it: a file that
our reader opens. Sums in float64 of float32 activations. Made with torch 2.x, transformers 5.x.
"""
import sys

import torch
from safetensors.torch import load_file, safe_open, save_file
from transformers import AutoConfig, AutoModelForCausalLM


def weights_of(folder):
    """Everything in F32, FP8 blocks of 128 x 128 by their scales, experts stacked as transformers 5 wants."""
    raw, out = {}, {}
    for shard in sorted(folder.glob("*.safetensors")):
        raw |= load_file(shard)
    for name, w in raw.items():
        if name.endswith("_scale_inv"):
            continue
        scale = raw.get(name + "_scale_inv")
        if scale is not None:
            full = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)
            w = w.float() * full[:w.shape[0], :w.shape[1]]
        out[name] = w.float()
    return out


def stacked(weights, n_layers, n_experts):
    out = {k: v for k, v in weights.items() if ".mlp.experts." not in k and f"layers.{n_layers}." not in k}
    for layer in range(n_layers):
        stem = f"model.layers.{layer}.mlp.experts."
        if f"{stem}0.gate_proj.weight" in weights:
            both = [torch.cat([weights[f"{stem}{e}.{p}_proj.weight"] for p in ("gate", "up")]) for e in range(n_experts)]
            out[stem + "gate_up_proj"] = torch.stack(both)
            out[stem + "down_proj"] = torch.stack([weights[f"{stem}{e}.down_proj.weight"] for e in range(n_experts)])
    return out


def hooks(model, config, seen):
    """seen[layer][what]: activations by name."""
    mla = getattr(config, "kv_lora_rank", None)

    def keep(layer, what, of_input):
        def hook(_, args, out=None):
            x = args[0] if of_input else out
            seen.setdefault(layer, {})[what] = (x[0] if isinstance(x, tuple) else x).reshape(-1, x[0].shape[-1]).double()
        return hook
    for i, layer in enumerate(model.model.layers):
        pairs = [("attention_input", layer.input_layernorm, False), ("attention_heads", layer.self_attn.o_proj, True),
                 ("ffn_input", layer.post_attention_layernorm, False), ("residual", layer.post_attention_layernorm, True)]
        if mla:
            pairs += [("key_latent", layer.self_attn.kv_a_layernorm, False)]
            query = layer.self_attn.q_b_proj if config.q_lora_rank else layer.self_attn.q_proj
            pairs += [("query", query, False)]
            if config.q_lora_rank:
                pairs += [("query_latent", layer.self_attn.q_a_layernorm, False)]
        moe = hasattr(layer.mlp, "gate")
        pairs += [("ffn_inner", layer.mlp.shared_experts.down_proj if moe else layer.mlp.down_proj, True)]
        for what, module, of_input in pairs:
            (module.register_forward_pre_hook if of_input else module.register_forward_hook)(keep(i, what, of_input))
    model.model.norm.register_forward_hook(keep("final", "final", False))


def experts(layer, x, config):
    """Per expert: tokens, weights, inner activation, answer; by hand from the stacked weights."""
    _, weight, chosen = layer.mlp.gate(x[None].float())
    weight, chosen = weight.reshape(len(x), -1), chosen.reshape(len(x), -1)
    for e in range(config.n_routed_experts):
        token, slot = torch.where(chosen == e)
        gate, up = (x[token].float() @ layer.mlp.experts.gate_up_proj[e].T).chunk(2, -1)
        inner = torch.nn.functional.silu(gate) * up
        yield token, weight[token, slot].double(), inner.double(), (inner @ layer.mlp.experts.down_proj[e].T).double()


def value_latent(attention, s, probability):
    """[T][heads * kv_lora]: each head's latents by its probabilities; W_v of them is what o_proj meets."""
    mean = torch.einsum("hqt,tc->qhc", probability, s["key_latent"])
    w = attention.kv_b_proj.weight.double().reshape(mean.shape[1], -1, mean.shape[2])[:, attention.qk_nope_head_dim:]
    values = torch.einsum("qhc,hvc->qhv", mean, w).flatten(1)
    assert (values - s["attention_heads"]).abs().max() < 1e-4 * values.abs().max()
    return mean.flatten(1)


def add(out, name, x):
    out[name] = (x ** 2).mean(0).float() if len(x) else torch.zeros(x.shape[1])
    out[name + ".count"] = torch.tensor([len(x)])


def moe(out, p, layer, s, config):
    x, h = s["ffn_input"], s["residual"]
    found = list(experts(layer, x, config))
    inputs = [x[token] for token, *_ in found]
    inners = [inner for _, _, inner, _ in found]
    for site, parts in (("expert_input", inputs), ("expert_inner", inners)):
        out[p + site] = torch.stack([(v ** 2).mean(0).float() if len(v) else torch.zeros(v.shape[1]) for v in parts])
        out[p + site + ".count"] = torch.tensor([len(v) for v in parts])
        add(out, p + site.replace("expert", "experts"), torch.cat(parts))
    routed = torch.zeros_like(h)
    for token, g, _, answer in found:
        routed.index_add_(0, token, g[:, None] * answer)
    turn = (1 - torch.nn.functional.cosine_similarity(h, h + routed, dim=-1)).clamp(min=0)
    rows = []
    for token, g, _, answer in found:
        norm = answer.norm(dim=-1)
        rows.append([g.sum(), norm.sum(), (norm ** 2).sum(), (g * norm).sum(), (g * norm * turn[token]).sum(),
                     answer.abs().max() if len(answer) else 0.0])
    out[p + "saliency"] = torch.tensor(rows, dtype=torch.float64)


@torch.no_grad()
def run(root, name):
    folder = root / name
    config = AutoConfig.from_pretrained(folder)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).float().eval()
    n_layers = config.num_hidden_layers
    weights = stacked(weights_of(folder), n_layers, getattr(config, "n_routed_experts", 0))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and not [m for m in missing if "rotary" not in m], (missing, unexpected)
    with safe_open(root / "golden" / f"{name}.safetensors", "pt") as f:
        ids, logits = f.get_tensor("input_ids").long(), f.get_tensor("logits")
    seen, out = {}, {}
    hooks(model, config, seen)
    answer = model(ids[None], output_hidden_states=True, output_attentions=True, use_cache=False)
    print(name, "logits differ by", (answer.logits[0] - logits).abs().max().item())
    hidden = [h[0].double() for h in answer.hidden_states[:-1]]
    last = {}
    model.model.norm.register_forward_pre_hook(lambda _, args: last.update(x=args[0][0].double()))
    model(ids[None], use_cache=False)
    hidden.append(last["x"])
    for i, layer in enumerate(model.model.layers):
        p, s = f"layers.{i}.", seen[i]
        for site in ("attention_input", "query_latent", "key_latent"):
            if site in s:
                add(out, p + site, s[site])
        if "query" in s:
            add(out, p + "value_latent", value_latent(layer.self_attn, s, answer.attentions[i][0].double()))
            nope = config.qk_nope_head_dim
            add(out, p + "query_nope", s["query"].reshape(len(ids), config.num_attention_heads, -1)[..., :nope].flatten(1))
        for site in ("attention_heads", "ffn_input", "ffn_inner"):
            add(out, p + site, s[site])
        if hasattr(layer.mlp, "gate"):
            moe(out, p, layer, s, config)
        cos = torch.nn.functional.cosine_similarity(hidden[i], hidden[i + 1], dim=-1)
        out[p + "angle"] = (torch.arccos(cos.clamp(-1, 1)) / torch.pi).sum()[None]
    add(out, "final", seen["final"]["final"])
    zero = "0" * 32
    metadata = {"format": "baleen.stats", "version": "1", "identity": zero, "fingerprint": zero, "text": zero,
                "token_ids": zero, "tokens": str(len(ids)), "ctx": str(len(ids)), "layers": str(n_layers),
                "heads": str(config.num_attention_heads), "parts": "1/1"}
    save_file({k: v.contiguous() for k, v in out.items()}, root / "golden" / f"{name}.stats.safetensors", metadata)


if __name__ == "__main__":
    import pathlib
    for model_name in ("nano-r1", "toy-mla", "toy-qwen2"):
        run(pathlib.Path(sys.argv[1]), model_name)
