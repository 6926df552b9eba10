#!/usr/bin/env python3
"""Is the Hugging Face folder that `baleen convert x.gguf -o DIR` makes the model that the GGUF file came from?

  gguf_to_folder.py BALEEN TEXT DIR... [--chunks N]

Of each checkpoint folder DIR a GGUF file in F32 is made, of that a folder, and:

  weights       every tensor, as the Python package safetensors reads it, is numpy's of DIR but for the MTP layer
  transformers  loads the folder with nothing missing or unused; logits of N chunks of TEXT are those of the plain architecture filled
                by numpy from DIR, within 1e-4: the configuration says the same
  tokenizers    the ids of TEXT are those of DIR's tokenizer.json, loaded by `tokenizers` and by transformers
  back          the folder as a GGUF file is the first file, byte for byte
  q8_0          a Q8_0 file becomes a folder in BF16; as F32 it is the file's values (`baleen verify --against`: no error)

Exit 1 on any failure.
"""
import argparse
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers

from checkpoint import Checkpoint, chunks
from llama_judge import run
from small_models import first_token
from transformers_int4 import LOGIT_TOLERANCE, is_mtp, logits_of, plain_model

bad = 0


def check(ok, text):
    global bad
    print(f"  {'ok  ' if ok else 'FAIL'} {text}", flush=True)
    bad += not ok


def judge(baleen, source, text, n_chunks, work):
    from safetensors import safe_open
    from tokenizers import Tokenizer

    run(baleen, "convert", source, "-o", work / "a.gguf", "--dtype", "f32", "-q")
    run(baleen, "convert", work / "a.gguf", "-o", work / "made", "-q")
    c, made = Checkpoint(source), work / "made"
    with safe_open(made / "model.safetensors", "np") as f:
        names = set(f.keys())
        same = sum(np.array_equal(f.get_tensor(n), c.f32(n)) for n in names)
    wanted = {n for n in c.weights() if not is_mtp(c, n)}
    check(names == wanted and same == len(names), f"weights: {same} of {len(wanted)} equal numpy's")
    model, info = transformers.AutoModelForCausalLM.from_pretrained(made, dtype=torch.float32, output_loading_info=True, attn_implementation="eager")
    check(not info["missing_keys"] and not info["unexpected_keys"], "transformers: no key missing or unused")
    old, new = (Tokenizer.from_file(str(Path(d) / "tokenizer.json")) for d in (source, made))
    content = Path(text).read_text()
    want = old.encode(content, add_special_tokens=False).ids
    auto = transformers.AutoTokenizer.from_pretrained(made)
    bos = first_token(source, old)
    check(new.encode(content, add_special_tokens=False).ids == want, f"tokenizers: {len(want)} ids")
    check(auto(content, add_special_tokens=False)["input_ids"] == want and auto("a")["input_ids"][0] == (want[0] if bos is None else bos),
          "transformers: the same ids, and what comes first")
    cut = np.array(want[: 512 * n_chunks]).reshape(-1, 512) if bos is None else chunks([bos] + want, bos)[:n_chunks]
    plain = plain_model(c)
    away = max((logits_of(model.eval(), cut[k : k + 1]) - logits_of(plain, cut[k : k + 1])).abs().max().item() for k in range(len(cut)))
    check(away <= LOGIT_TOLERANCE, f"transformers: logits away from numpy's weights by {away:g} at most")
    run(baleen, "convert", made, "-o", work / "b.gguf", "--dtype", "f32", "-q")
    check((work / "a.gguf").read_bytes() == (work / "b.gguf").read_bytes(), "back: the same file")
    run(baleen, "quantize", source, "-o", work / "q.gguf", "--type", "q8_0", "-q")
    run(baleen, "convert", work / "q.gguf", "-o", work / "bf16", "-q")
    run(baleen, "convert", work / "q.gguf", "-o", work / "f32", "--dtype", "f32", "-q")
    kept = json.loads((work / "bf16" / "config.json").read_text())["torch_dtype"]
    same = run(baleen, "verify", work / "f32", "--against", work / "q.gguf", "-q", out_only=True)
    n = len(wanted)
    check(kept == "bfloat16" and f"{n} compared, {n} identical" in same, f"q8_0: {kept} by itself; as F32 {n} tensors are the file's")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("baleen")
    p.add_argument("text")
    p.add_argument("models", nargs="+", type=Path)
    p.add_argument("--chunks", type=int, default=4)
    options = p.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()
    for model in options.models:
        print(f"\n{model.name}", flush=True)
        with tempfile.TemporaryDirectory() as work:
            judge(options.baleen, model, options.text, options.chunks, Path(work))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
