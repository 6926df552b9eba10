#!/usr/bin/env python3
"""Does a student's folder load as a stock model of transformers, and of llama.cpp, and compute what baleen computes?

  student_loads.py BALEEN TEXT DIR... [--llama BIN] [--chunks N]

transformers loads each DIR in F32, without a key too many or too few. By llama.cpp's rule (chunks of 512, the second half
scored) its perplexity is that of `baleen verify` within 0.01 %, and log-probabilities of every token of the vocabulary are
those of `verify --save-logits --logits-kind llama.cpp` within 0.001 (that file rounds by up to 0.00013). With --llama, the
folder that holds llama-perplexity, `baleen convert --dtype f32` makes a GGUF file whose perplexity there is the same
within 0.1 %. Exit 1 on any difference.
"""
import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from llama_judge import EXACT, number, run

LIMIT = 1e-3


def load(folder):
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, attn_implementation="eager")
    odd = {k: sorted(v)[:3] for k, v in info.items() if v and k in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    return model.eval(), odd


def read_kept(path):
    """Tokens [chunks][ctx] and, for the second half but one of each chunk, ln p [chunks][places][vocabulary] and what it lost."""
    data = Path(path).read_bytes()
    n_ctx, n_vocab, n_chunks = np.frombuffer(data, "<i4", 3, 8)
    tokens = np.frombuffer(data, "<i4", n_chunks * n_ctx, 20).reshape(n_chunks, n_ctx)
    record = np.dtype([("scale", "<f4"), ("min", "<f4"), ("code", "<u2", n_vocab + n_vocab % 2)])
    kept = np.frombuffer(data, record, offset=20 + 4 * tokens.size).reshape(n_chunks, -1)
    code = kept["code"][..., :n_vocab]
    return tokens, kept["min"][..., None] + kept["scale"][..., None] * code, code == 0


def judge(a, folder, work):
    kept = work / "kept"
    command = [a.baleen, "verify", folder, "--text", a.text, "--tokens", a.chunks * 512, "--save-logits", kept, "--logits-kind", "llama.cpp"]
    ours = json.loads(run(*command, "--force", "--json", "-q", out_only=True))
    tokens, log_p, clipped = read_kept(kept)
    config = json.loads((Path(folder) / "config.json").read_text())
    model, bad = load(folder)
    ids = torch.tensor(tokens, dtype=torch.long)
    if tokens[0, 0] == config["bos_token_id"]:
        ids[:, 0] = config["bos_token_id"]
    with torch.no_grad():
        logits = torch.cat([model(chunk[None]).logits for chunk in ids])
    half = ids.shape[1] // 2
    theirs = logits[:, half:-1].log_softmax(-1)
    nll = -theirs.gather(-1, ids[:, half + 1 :, None]).mean().item()
    away = np.where(clipped, 0, np.abs(theirs.numpy() - log_p)).max()
    ppl = float(np.exp(nll))
    line = f"{folder}: {type(model).__name__}, perplexity {ppl:.6f}, baleen {ours['perplexity']:.6f}; ln p at most {away:.2g} apart"
    if abs(ppl / ours["perplexity"] - 1) > 1e-4:
        bad["perplexity"] = ppl
    if away > LIMIT:
        bad["ln p"] = float(away)
    if a.llama:
        gguf = work / "student.gguf"
        run(a.baleen, "convert", folder, "-o", gguf, "--dtype", "f32", "--force", "-q")
        log = run(Path(a.llama) / "llama-perplexity", "-m", gguf, "-f", a.text, *EXACT, "--chunks", a.chunks)
        their = number(log, r"Final estimate: PPL = ([\d.]+)")
        line += f"; llama.cpp {their}"
        if not their or abs(their / ours["perplexity"] - 1) > 1e-3:
            bad["llama.cpp"] = their
    print(line, f"FAIL {bad}" if bad else "ok", flush=True)
    return bool(bad)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("baleen")
    p.add_argument("text")
    p.add_argument("students", nargs="+")
    p.add_argument("--llama", help="folder that holds llama-perplexity")
    p.add_argument("--chunks", type=int, default=4)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as work:
        sys.exit(1 if sum([judge(a, s, Path(work)) for s in a.students]) else 0)


if __name__ == "__main__":
    main()
