#!/usr/bin/env python3
"""The tokenizer.json that the publisher of a GGUF file's vocabulary has, as far as ids are concerned: tokens, merges and types
from the file, the pipeline by its name.

    gguf_tokenizer_json.py FILE.gguf DIRECTORY [--nfc]

For tokenizer_random.py: the vocabularies in llama.cpp's models/ are those of real models, whose tokenizer.json does not come with
them. --nfc puts the normal form in front that Qwen's has and a GGUF file cannot say. Needs: gguf.
"""
import argparse
import json
import os

from gguf import GGUFReader

SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


def byte_level(use_regex):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def split(*expressions):
    cuts = [{"type": "Split", "pattern": {"Regex": e}, "behavior": "Isolated", "invert": False} for e in expressions]
    return {"type": "Sequence", "pretokenizers": [*cuts, byte_level(False)]}


DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level(True)]}
PIPELINES = {
    "gpt-2": byte_level(True), "mpt": byte_level(True),
    "smollm": DIGITS, "starcoder": DIGITS, "refact": DIGITS, "command-r": DIGITS,
    "qwen2": split(WORDS + r"\p{N}|" + SYMBOLS),
    "llama-bpe": split(WORDS + r"\p{N}{1,3}|" + SYMBOLS),
    "deepseek-v3": split(r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                         "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
                         " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("gguf")
    parser.add_argument("directory")
    parser.add_argument("--nfc", action="store_true")
    a = parser.parse_args()
    fields = GGUFReader(a.gguf).fields
    tokens, types, merges, pre = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "token_type", "merges", "pre"))
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": types[i] == CONTROL} for i, t in enumerate(tokens) if types[i] in (CONTROL, USER_DEFINED)]
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": pre == "llama-bpe",
             "vocab": {t: i for i, t in enumerate(tokens) if types[i] in (NORMAL, CONTROL, USER_DEFINED)}, "merges": merges}
    os.makedirs(a.directory, exist_ok=True)
    with open(os.path.join(a.directory, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                   "normalizer": {"type": "NFC"} if a.nfc else None, "pre_tokenizer": PIPELINES[pre],
                   "post_processor": None, "decoder": byte_level(True), "model": model}, f, ensure_ascii=False)


main()
