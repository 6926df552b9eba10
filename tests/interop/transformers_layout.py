#!/usr/bin/env python3
"""Does transformers load a directory of int8, asymmetric int4 or FP8, and hold the values that its bytes say?

  transformers_layout.py DIR [--dtype float32|bfloat16] [--source DIR --text FILE --baleen PATH [--chunks N]]

Loads DIR as a user would, decompressed (compressed-tensors) or dequantized (fp8), and compares every weight of the main
model with what numpy decodes from the bytes (layouts.py), exactly or, where the library works in BF16, rounded. No key
may be missing or unused but those of the MTP layer. Exit 1 on any difference. docs/interop.md says which versions load what.

FP8 matrices whose rows or columns are no multiple of 128: transformers 5.23.0 cuts them into blocks of equal size, as
many as there are scales (192 rows: 96 and 96), where DeepSeek's own code, vLLM and baleen take 128 and the rest. Such a
matrix must hold exactly those values, is counted, and is given the right ones before anything is computed. That version
also leaves in BF16 what the folder has in BF16, whatever --dtype says: the model is made F32, which is exact, and computes so.

With --source, --text and --baleen an FP8 folder computes, as loaded: perplexity, and mean KL divergence from the source, by
llama.cpp's rule, must be those of `baleen verify DIR --against SOURCE`, within 0.01 % and 1 %. The logits of the model as
loaded and of the plain architecture filled with numpy's weights must be the same within 1e-4.
"""
import argparse
import json
import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from checkpoint import Checkpoint, chunks
from layouts import decode
from transformers_int4 import LOGIT_TOLERANCE, logits_of, plain_model, round_bf16, scored


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


def cut_evenly(c, name):
    """An FP8 matrix as transformers 5.23.0 reads it: blocks of equal size, as many as there are scales. None for others."""
    if name + "_scale_inv" not in c:
        return None
    x, scale = c.raw(name).astype(np.float32), c.raw(name + "_scale_inv")
    (n, k), (i, j) = x.shape, scale.shape
    return None if n % i or k % j else x * np.repeat(np.repeat(scale, n // i, 0), k // j, 1)


def check_computing(c, model, a):
    """The loaded model against the plain one that numpy filled, and both against baleen: what differs."""
    from tokenizers import Tokenizer

    source = Checkpoint(a.source)
    tokenizer, bos = Tokenizer.from_file(str(source.dir / "tokenizer.json")), source.config["bos_token_id"]
    ids = chunks([bos] + tokenizer.encode(Path(a.text).read_text(), add_special_tokens=False).ids, bos)[: a.chunks]
    reference, plain = plain_model(source), plain_model(c)
    away, nll, kld, n = 0.0, 0.0, 0.0, 0
    for k in range(0, len(ids), 8):
        away = max(away, (logits_of(model, ids[k : k + 8]) - logits_of(plain, ids[k : k + 8])).abs().max().item())
        (p, target), (q, _) = (scored(m, ids[k : k + 8]) for m in (reference, model))
        nll -= q.gather(-1, target[..., None]).sum().item()
        kld, n = kld + (p.exp() * (p - q)).sum().item(), n + target.numel()
    command = [a.baleen, "verify", c.dir, "--against", a.source, "--text", a.text, "--tokens", ids.size, "--json", "-q"]
    ours = json.loads(subprocess.run([str(x) for x in command], capture_output=True, text=True, check=True).stdout)
    ppl, kld = float(np.exp(nll / n)), kld / n
    print(f"{len(ids)} chunks: perplexity {ppl:.6f}, baleen {ours['perplexity']:.6f}; mean KL {kld:.6f}, baleen {ours['mean_kld']:.6f}; "
          f"logits, loaded against numpy's weights: largest difference {away:g}")
    bad = ["logits"] if away > LOGIT_TOLERANCE else []
    bad += ["perplexity"] if abs(ours["perplexity"] / ppl - 1) > 1e-4 else []
    return bad + (["mean KL"] if abs(ours["mean_kld"] - kld) > 1e-2 * kld + 1e-7 else [])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("dir")
    ap.add_argument("--dtype", default="float32")
    ap.add_argument("--source")
    ap.add_argument("--text")
    ap.add_argument("--baleen")
    ap.add_argument("--chunks", type=int)
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
    n, n_quantized, half, even = 0, 0, 0, 0
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
        held, n = got, n + 1
        got = got.detach().float().numpy()
        n_quantized += name not in c.tensors or c.tensors[name][0] in ("I8", "F8_E4M3")
        if got.shape == want.shape and np.array_equal(got, want):
            continue
        if got.shape == want.shape and np.array_equal(got, round_bf16(want)):
            half += 1
            continue
        wrong = cut_evenly(c, name)
        if wrong is not None and any(x % 128 for x in got.shape) and (np.array_equal(got, wrong) or np.array_equal(got, round_bf16(wrong))):
            even += 1
            held.data.copy_(torch.from_numpy(want))
            continue
        bad.append(f"{name}: {np.count_nonzero(got != want) if got.shape == want.shape else got.shape} differ")
    if a.source and a.text and a.baleen:
        if q["quant_method"] != "fp8":
            ap.error("--source and --text are for FP8; int4 has transformers_int4.py")
        bad += check_computing(c, model.float(), a)
    for line in bad[:10]:
        print(line)
    print(f"{a.dir}: {n} weights, {n_quantized} quantized, {half} rounded to BF16, {even} cut into equal blocks by transformers: " + (f"{len(bad)} differences" if bad else "all equal"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
