#!/usr/bin/env python3
"""A vocabulary-only GGUF file of a tokenizer.json, made by the Python package gguf: what llama.cpp's models/ has no example of.

    gguf_of_tokenizer.py DIRECTORY PRE OUT.gguf

PRE is llama.cpp's name of the split expressions, for example deepseek-v3. Needs: gguf.
"""
import json
import os
import sys

from gguf import GGUFWriter, TokenType


def main(directory, pre, out):
    with open(os.path.join(directory, "tokenizer.json"), encoding="utf-8") as f:
        tokenizer = json.load(f)
    vocab = dict(tokenizer["model"]["vocab"])
    added = {t["id"]: t for t in tokenizer["added_tokens"]}
    vocab.update({t["content"]: i for i, t in added.items()})
    text_of = {i: t for t, i in vocab.items()}
    n = max(text_of) + 1
    types = [(TokenType.CONTROL if added[i]["special"] else TokenType.USER_DEFINED) if i in added
             else TokenType.NORMAL if i in text_of else TokenType.UNUSED for i in range(n)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    w = GGUFWriter(out, "gpt2")
    w.add_context_length(1024)
    w.add_embedding_length(64)
    w.add_block_count(1)
    w.add_feed_forward_length(64)
    w.add_head_count(1)
    w.add_layer_norm_eps(1e-5)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list([text_of.get(i, f"[PAD{i}]") for i in range(n)])
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


main(*sys.argv[1:])
