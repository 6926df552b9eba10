#!/usr/bin/env python3
"""Does transformers with compressed-tensors load an int4 directory, and compute with it what its bytes say?

  transformers_int4.py DIR3 [--golden nano-r1.safetensors] [--source DIR --text FILE [--chunks N]] [--baleen PATH]

1. Loading leaves no key missing or mismatched, and no key unused but those of the MTP layer.
2. Every weight as the library decompressed it equals q * scale decoded here with numpy from the packed bytes: exactly
   in F32, or rounded to BF16 where the library works in BF16. One code of the last expert is changed in a copy: exactly
   that element must change (else experts do not come from the packed tensors).
3. `ignore` names exactly the linear layers that are stored plain, tensor types and shapes are those of docs/interop.md.
4. Logits of the model as a user loads it (packed, decompressed on the fly) equal those of the plain model filled with
   the numpy weights, F32 and BF16: within 1e-4 absolute (they run the same operations; 0 has been measured).
5. With --source and --text: perplexity and mean KL divergence against the source by llama.cpp's rule, in F32; with
   --baleen also `baleen verify DIR3 --against DIR`, which must give both perplexities within 0.01 %.

Prints the largest differences; exit 1 on any failure. Tried with transformers 5.23.0 and compressed-tensors 0.20.0
(requirements.txt), which decompress and stack the experts of deepseek_v3 on loading, always in BF16, and with 4.57.1 and
0.12.2 (requirements-int4.txt), which keep a packed module per expert.
"""
import argparse
import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import torch

from checkpoint import Checkpoint, chunks

LOGIT_TOLERANCE = 1e-4
failures = []


def check(ok, text):
    text = text.removesuffix(" []")
    print(("ok    " if ok else "FAIL  ") + text)
    if not ok:
        failures.append(text)


def load(directory, dtype, packed):
    """The model, and what loading said. `packed`: keep int4 in memory, as is the default."""
    from transformers import AutoModelForCausalLM
    from transformers.utils.quantization_config import CompressedTensorsConfig

    q = CompressedTensorsConfig(run_compressed=packed)
    model, info = AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, quantization_config=q, output_loading_info=True, attn_implementation="eager"
    )
    return model.eval(), info


def stack(c, name):
    """The weight `name` of a model from the directory; transformers 5 stacks experts: experts.gate_up_proj, experts.down_proj."""
    if name == "lm_head.weight" and name not in c and c.config.get("tie_word_embeddings"):
        return c.f32("model.embed_tokens.weight")
    if not name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
        return c.f32(name)
    prefix, kind = name.rsplit(".", 1)
    parts = ("gate_proj", "up_proj") if kind == "gate_up_proj" else ("down_proj",)
    experts = range(c.config["n_routed_experts"])
    return np.stack([np.concatenate([c.f32(f"{prefix}.{e}.{p}.weight") for p in parts]) for e in experts])


def round_bf16(w):
    return w.astype(ml_dtypes.bfloat16).astype(np.float32)


def stored_names(c, name):
    """The names of the directory that a weight of the model is made from."""
    if not name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
        return [name]
    prefix = name.rsplit(".", 1)[0] + "."
    return [n for n in c.weights() if n.startswith(prefix) and ("down_proj" in n) == name.endswith("down_proj")]


def plain_model(c, dtype=torch.float32, like=None):
    """The same architecture without compression, filled with the numpy weights; router bias in the type that `like` holds it in."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(c.dir)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager")
    for module, other in zip(model.modules(), (like or model).modules()):
        if hasattr(module, "e_score_correction_bias"):
            module.e_score_correction_bias = module.e_score_correction_bias.to(other.e_score_correction_bias.dtype)
    state = {n: torch.from_numpy(stack(c, n)).to(t.dtype) for n, t in model.state_dict().items()}
    model.load_state_dict(state, strict=True)
    return model.eval()


def is_mtp(c, name):
    m = re.match(r"model\.layers\.(\d+)\.", name)
    return m is not None and int(m[1]) >= c.config["num_hidden_layers"]


def check_loading(c, info):
    unexpected = [n for n in info["unexpected_keys"] if not is_mtp(c, n)]
    check(not info["missing_keys"], f"no key missing {list(info['missing_keys'])[:3]}")
    check(not info["mismatched_keys"] and not info["error_msgs"], "no key mismatched, no loading error")
    check(not unexpected, f"no key unused but {len(info['unexpected_keys'])} of the MTP layer {unexpected[:3]}")


def check_weights(c, model, kind):
    """Decompressed weights against numpy, all of them, each in the element type that the model holds it in."""
    have = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    have = {n: t for n, t in have.items() if n.rsplit(".", 1)[-1] in ("weight", "e_score_correction_bias", "gate_up_proj", "down_proj")}
    seen, worst, unequal, half = set(), 0.0, [], 0
    for name, tensor in have.items():
        want, got = stack(c, name), tensor.detach().float().numpy()
        if tensor.dtype == torch.bfloat16 or (kind == "F32" and np.array_equal(got, round_bf16(want)) and not np.array_equal(got, want)):
            want, half = round_bf16(want), half + 1
        seen.update(stored_names(c, name))
        if want.shape != got.shape or not np.array_equal(want, got):
            unequal.append(name)
            worst = max(worst, float(np.abs(want - got).max())) if want.shape == got.shape else float("inf")
    absent = [n for n in c.weights() if not is_mtp(c, n) and n not in seen]
    packed = sum(n.removesuffix(".weight") + ".weight_packed" in c for n in seen)
    check(not absent, f"{kind}: every stored weight is in the model: {len(seen)}, {packed} of them packed {absent[:3]}")
    check(not unequal, f"{kind}: {len(have) - len(unequal)} of {len(have)} weights of the model equal numpy's ({half} rounded to BF16), largest difference {worst:g} {unequal[:3]}")


def check_expert_is_read(c):
    """Change one code of the last routed expert in a copy: transformers must see exactly that change."""
    experts = [n for n in c.tensors if ".experts." in n and n.endswith(".weight_packed") and not is_mtp(c, n)]
    if not experts:
        check(False, "routed experts are packed")
        return
    name = sorted(experts)[-1]
    _, shape, path, begin, _ = c.tensors[name]
    row, word = shape[0] - 1, shape[1] - 1
    with tempfile.TemporaryDirectory() as tmp:
        copy = Path(tmp) / "copy"
        shutil.copytree(c.dir, copy)
        shard = copy / path.name
        shard.chmod(0o644)
        with open(shard, "r+b") as f:
            f.seek(begin + 4 * (row * shape[1] + word) + 3)
            byte = f.read(1)[0]
            f.seek(-1, 1)
            f.write(bytes([byte ^ 0x10]))
        model, _ = load(copy, torch.float32, False)
        changed = Checkpoint(copy).f32(name.removesuffix("_packed"))
    before = c.f32(name.removesuffix("_packed"))
    at = np.argwhere(changed != before)
    old, new = expert_of(model, name, before), expert_of(model, name, changed)
    ok = at.tolist() == [[row, 8 * word + 7]] and new == 0 and old == 1
    check(ok, f"a changed code in {name.removesuffix('_packed')} changes that element of the model and no other")


def expert_of(model, name, want):
    """How many elements of the model's expert weight differ from `want` (rounded where the model holds BF16)."""
    params = dict(model.named_parameters())
    plain = name.removesuffix("_packed")
    if plain in params:
        got = params[plain]
    else:
        prefix, expert, kind = re.fullmatch(r"(.*\.experts)\.(\d+)\.(\w+)\.weight", plain).groups()
        got = params[f"{prefix}.{'down_proj' if kind == 'down_proj' else 'gate_up_proj'}"][int(expert)]
        if kind != "down_proj":
            half = got.shape[0] // 2
            got = got[:half] if kind == "gate_proj" else got[half:]
    got = got.detach().float().numpy()
    return min(int((got != w).sum()) for w in (want, round_bf16(want)))


def matches(name, patterns):
    return any(re.match(p[3:], name) if p.startswith("re:") else p == name for p in patterns)


def check_layout(c):
    """Names, types, shapes and config fields against docs/interop.md."""
    q = c.config["quantization_config"]
    groups = list(q["config_groups"].values())
    w = groups[0]["weights"]
    check(q["quant_method"] == "compressed-tensors" and q["format"] == "pack-quantized", "quant_method and format")
    check(q["quantization_status"] == "compressed" and q.get("kv_cache_scheme") is None, "status compressed, no kv_cache_scheme")
    check(len(groups) == 1 and groups[0]["targets"] == ["Linear"], "one group, targets Linear")
    check(groups[0].get("input_activations") is None and groups[0].get("output_activations") is None, "activations are not quantized")
    group = w["group_size"]
    want = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "dynamic": False}
    check(all(w.get(k) == v for k, v in want.items()) and w.get("actorder") is None and group in (32, 64, 128), f"weights: int4, symmetric, group {group}, static, no order")
    bad = []
    for name in [n for n in c.tensors if n.endswith(".weight_packed")]:
        stem = name.removesuffix("_packed")
        dtype, (n, words), *_ = c.tensors[name]
        ok = dtype == "I32" and c.tensors[stem + "_scale"][:2] == ("BF16", (n, words * 8 // group))
        ok = ok and c.tensors[stem + "_shape"][:2] == ("I64", (2,)) and c.raw(stem + "_shape").tolist() == [n, words * 8]
        scale = c.raw(stem + "_scale").astype(np.float32)
        if not ok or stem in c or not np.isfinite(scale).all() or stem + "_scale_inv" in c:
            bad.append(stem)
    check(not bad, f"packed I32 [N, K/8], scale BF16 [N, K/{group}] finite, shape I64 [N, K] {bad[:3]}")
    linear = [n.removesuffix(".weight") for n in c.weights() if n.endswith(".weight") and len(c.shape_of(n)) == 2 and "embed_tokens" not in n]
    plain = [n for n in linear if n + ".weight_packed" not in c]
    wrong = [n for n in linear if matches(n, q["ignore"]) != (n in plain)]
    check(not wrong, f"ignore names exactly the {len(plain)} plain matrices out of {len(linear)} {wrong[:3]}")
    check(not [n for n in c.tensors if n.endswith("_scale_inv")], "no weight_scale_inv is left")
    check(not [n for n, t in c.tensors.items() if t[0].startswith("F8")], "no FP8 tensor is left")
    fused = [("gate_proj", "up_proj"), ("q_a_proj", "kv_a_proj_with_mqa")]
    torn = [n for n in plain for a, b in fused for x, y in ((a, b), (b, a)) if n.endswith(x) and n.removesuffix(x) + y in linear and n.removesuffix(x) + y not in plain]
    check(not torn, f"matrices that vLLM fuses are packed together or not at all {torn[:3]}")


def input_ids(c, golden):
    if golden:
        g = Checkpoint.of_file(golden)
        return g.raw("input_ids").astype(np.int64)
    return np.random.default_rng(1).integers(3, c.config["vocab_size"], 256)


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.from_numpy(np.atleast_2d(ids)), use_cache=False).logits.float()


def check_logits(c, ids):
    exact = logits_of(plain_model(c), ids)
    for dtype, kind in ((torch.float32, "F32"), (torch.bfloat16, "BF16")):
        model, _ = load(c.dir, dtype, True)
        got = logits_of(model, ids)
        away = (got - exact).abs()
        print(f"      logits, packed in {kind} against exact weights in F32: largest difference {away.max().item():.4g}, mean {away.mean().item():.4g}")
        if dtype == torch.float32 and any(n.endswith("experts.down_proj") for n, _ in model.named_parameters()):
            print("      F32 not judged: this transformers computes its stacked experts in BF16")
            continue
        want = exact if dtype == torch.float32 else logits_of(plain_model(c, dtype, model), ids)
        diff = (got - want).abs().max().item()
        check(diff <= LOGIT_TOLERANCE, f"logits, packed against numpy weights, both {kind}, {got.shape[1]} tokens: largest difference {diff:g}")


def scored(model, ids):
    """Log-probabilities of every scored position of one chunk batch: [n, n_ctx/2 - 1, vocab], and the targets."""
    half = ids.shape[1] // 2
    logp = torch.log_softmax(logits_of(model, ids)[:, half:-1].double(), dim=-1)
    return logp, torch.from_numpy(ids[:, half + 1 :])


def evaluate(c, source, text, limit):
    """Perplexities of source and DIR3, mean KL divergence, share of equal top tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source.dir / "tokenizer.json"))
    bos = source.config["bos_token_id"]
    ids = chunks([bos] + tokenizer.encode(Path(text).read_text(), add_special_tokens=False).ids, bos)[:limit]
    models = [plain_model(source), plain_model(c)]
    nll, kld, same, n = [0.0, 0.0], 0.0, 0, 0
    for k in range(0, len(ids), 8):
        (p, target), (q, _) = (scored(m, ids[k : k + 8]) for m in models)
        for i, x in enumerate((p, q)):
            nll[i] -= x.gather(-1, target[..., None]).sum().item()
        kld += (p.exp() * (p - q)).sum().item()
        same += (p.argmax(-1) == q.argmax(-1)).sum().item()
        n += target.numel()
    return np.exp(nll[0] / n), np.exp(nll[1] / n), kld / n, same / n, len(ids)


def check_quality(c, a):
    source = Checkpoint(a.source)
    ref, ppl, kld, same, n = evaluate(c, source, a.text, a.chunks)
    print(f"      perplexity {ref:.6f} -> {ppl:.6f} ({(ppl / ref - 1) * 100:+.3f} %), mean KL {kld:.6f}, same top {same * 100:.3f} %, {n} chunks")
    if not a.baleen:
        return
    out = subprocess.run([a.baleen, "verify", str(c.dir), "--against", a.source, "--text", a.text, "--json"], capture_output=True, text=True)
    if out.returncode:
        check(False, f"baleen verify: exit {out.returncode}: {out.stderr.strip()}")
        return
    v = json.loads(out.stdout)
    for key, want, tolerance in (("perplexity", ppl, 1e-4), ("reference_perplexity", ref, 1e-4), ("mean_kld", kld, 1e-2)):
        off = abs(v[key] / want - 1)
        check(off <= tolerance, f"baleen's {key} {v[key]:.6f}, here {want:.6f}: {off * 100:.5f} %")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("dir")
    ap.add_argument("--golden", help="safetensors file whose input_ids are run")
    ap.add_argument("--source")
    ap.add_argument("--text")
    ap.add_argument("--chunks", type=int)
    ap.add_argument("--baleen")
    a = ap.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    c = Checkpoint(a.dir)
    check_layout(c)
    model, info = load(a.dir, torch.float32, False)
    check_loading(c, info)
    check_weights(c, model, "F32")
    check_weights(c, load(a.dir, torch.bfloat16, False)[0], "BF16")
    check_expert_is_read(c)
    check_logits(c, input_ids(c, a.golden))
    if a.source and a.text:
        check_quality(c, a)
    sys.exit(f"{len(failures)} failures" if failures else 0)


if __name__ == "__main__":
    main()
