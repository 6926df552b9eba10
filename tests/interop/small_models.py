#!/usr/bin/env python3
"""Do four programs that know nothing of each other compute the same from what `baleen convert` writes of a checkpoint?

  small_models.py LLAMA_BIN BALEEN TEXT DIR... [--tokens N] [--chunks N]

Of each checkpoint folder DIR (deepseek_v3, qwen2, llama), in F32:

  llama.cpp     perplexity of the GGUF file                             that of `baleen verify` on it, within 0.1 %
  gguf          tensors of the GGUF file as the Python package reads    as many values as the plan says, all finite
  transformers  the folder, loaded as a user loads it: nothing missing  logits of the plain architecture filled by numpy from
                or unused but the MTP layer                             DIR's own bytes, within 1e-4; perplexity within 0.01 %
  safetensors   every tensor of the folder as the Python package reads  the bytes that numpy decodes from DIR, exactly

--tokens: of the text, for llama.cpp and baleen; --chunks: of 512 tokens, for transformers (default 8). Exit 1 on any failure.
"""
import argparse
import json
import logging
import re
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers

import llama_judge
from checkpoint import Checkpoint, chunks
from llama_judge import run
from transformers_int4 import LOGIT_TOLERANCE, logits_of, plain_model, scored


def first_token(source, tokenizer):
    """What the checkpoint puts before a text; None: nothing."""
    before = tokenizer.encode("").ids
    told = json.loads((Path(source) / "tokenizer_config.json").read_text())
    token = told.get("bos_token") if told.get("add_bos_token") else None
    token = token["content"] if isinstance(token, dict) else token
    return before[0] if before else tokenizer.token_to_id(token) if token else None


class Judge(llama_judge.Judge):
    def check(self, ok, text):
        print(f"  {'ok  ' if ok else 'FAIL'} {text}", flush=True)
        self.bad += not ok

    def gguf(self, source, work):
        from gguf import GGUFReader

        file = work / "f32.gguf"
        run(self.baleen, "convert", source, "-o", file, "--dtype", "f32", "-q")
        self.row("  llama.cpp", self.llama(file), self.verify(file), 0.1)
        tensors = GGUFReader(file).tensors
        finite = all(np.isfinite(t.data).all() for t in tensors)
        n = sum(int(t.n_elements) for t in tensors)
        told = json.loads(run(self.baleen, "inspect", file, "--json", out_only=True))["parameters"]
        # tensors that follow from the configuration (rotary divisors) are no parameters
        extra = sum(int(t.n_elements) for t in tensors if t.name == "rope_freqs.weight")
        self.check(finite and n - extra == told, f"gguf: {len(tensors)} tensors, {n - extra} values, inspect says {told}")

    def folder(self, source, work, n_chunks):
        from safetensors import safe_open
        from tokenizers import Tokenizer
        from transformers import AutoModelForCausalLM

        made = work / "f32"
        run(self.baleen, "convert", source, "-o", made, "--dtype", "f32", "-q")
        c = Checkpoint(source)
        same = n = 0
        for shard in sorted(made.glob("*.safetensors")):
            with safe_open(shard, "np") as f:
                for name in f.keys():
                    n += 1
                    same += np.array_equal(f.get_tensor(name), c.f32(name))
        self.check(same == n == len(c.weights()), f"safetensors: {same} of {n} tensors equal numpy's of the {len(c.weights())} in the source")
        model, info = AutoModelForCausalLM.from_pretrained(made, dtype=torch.float32, output_loading_info=True, attn_implementation="eager")
        layers = c.config["num_hidden_layers"]
        odd = [k for k in info["unexpected_keys"] if not ((m := re.match(r"model\.layers\.(\d+)\.", k)) and int(m[1]) >= layers)]
        self.check(not info["missing_keys"] and not odd, f"transformers: no key missing {list(info['missing_keys'])[:2]} or unused {odd[:2]}")
        tokenizer = Tokenizer.from_file(str(Path(source) / "tokenizer.json"))
        ids, bos = tokenizer.encode(Path(self.text).read_text(), add_special_tokens=False).ids, first_token(source, tokenizer)
        cut = np.array(ids[: 512 * n_chunks]).reshape(-1, 512) if bos is None else chunks([bos] + ids, bos)[:n_chunks]
        model.eval()
        plain, away, nll, count = plain_model(c), 0.0, 0.0, 0
        for k in range(len(cut)):
            away = max(away, (logits_of(model, cut[k : k + 1]) - logits_of(plain, cut[k : k + 1])).abs().max().item())
            q, target = scored(model, cut[k : k + 1])
            nll, count = nll - q.gather(-1, target[..., None]).sum().item(), count + target.numel()
        self.check(away <= LOGIT_TOLERANCE, f"transformers: logits away from numpy's weights by {away:g} at most")
        ours = json.loads(run(self.baleen, "verify", made, "--text", self.text, "--tokens", cut.size, "--json", "-q", out_only=True))
        ppl = float(np.exp(nll / count))
        self.check(abs(ours["perplexity"] / ppl - 1) < 1e-4, f"perplexity of {len(cut)} chunks: transformers {ppl:.6f}, baleen {ours['perplexity']:.6f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bin")
    p.add_argument("baleen")
    p.add_argument("text")
    p.add_argument("models", nargs="+", type=Path)
    p.add_argument("--tokens", type=int, default=0)
    p.add_argument("--chunks", type=int, default=8)
    options = p.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()
    judge = Judge(options)
    for model in options.models:
        print(f"\n{model.name}", flush=True)
        with tempfile.TemporaryDirectory() as work:
            judge.gguf(model, Path(work))
            judge.folder(model, Path(work), options.chunks)
    sys.exit(1 if judge.bad else 0)


if __name__ == "__main__":
    main()
