#!/usr/bin/env python3
"""Write the vocabularies among the inputs of tests/fuzz/fuzz_gguf.c: GGUF files without tensors.

    make_gguf_tokenizer_corpus.py tests/fuzz/corpus/gguf
"""
import os
import struct
import sys

U32, I32, BOOL, STRING, ARRAY = 4, 5, 7, 8, 9


def string(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def pair(key, value):
    head = string(key if key.startswith("tokenizer.chat") else "tokenizer.ggml." + key)
    if isinstance(value, bool):
        return head + struct.pack("<IB", BOOL, value)
    if isinstance(value, int):
        return head + struct.pack("<II", U32, value)
    if isinstance(value, (str, bytes)):
        return head + struct.pack("<I", STRING) + string(value)
    kind = STRING if not value or isinstance(value[0], (str, bytes)) else I32
    values = b"".join(string(v) if kind == STRING else struct.pack("<i", v) for v in value)
    return head + struct.pack("<IIQ", ARRAY, kind, len(value)) + values


def vocabulary(**pairs):
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pair(k, v) for k, v in pairs.items())


def main(folder):
    good = {"model": "gpt2", "pre": "smollm", "tokens": ["a", "b", "Ġ", "ab", "Ġa", "<s>", "<s>b", "[PAD7]", "<u>"],
            "merges": ["a b", "Ġ a"], "token_type": [1, 1, 1, 1, 1, 3, 4, 5, 2]}
    files = {
        "vocabulary": {**good, "bos_token_id": 5, "eos_token_id": 5, "unknown_token_id": 8, "padding_token_id": 0,
                       "add_bos_token": True, "add_eos_token": False, "tokenizer.chat_template": "{{ messages }}"},
        "vocabulary-no-pre": {k: v for k, v in good.items() if k in ("model", "tokens", "merges")},
        "vocabulary-ignores-merges": {**good, "pre": "llama-bpe"},
        "vocabulary-spm": {**good, "model": "llama"},
        "vocabulary-of-fillers": {**good, "tokens": ["", "[PAD1]"], "token_type": [1, 5]},
        "vocabulary-text-twice": {**good, "tokens": good["tokens"][:8] + ["a"]},
        "vocabulary-not-utf8": {**good, "tokens": good["tokens"][:8] + [b"\xff\0"]},
        "vocabulary-types-short": {**good, "token_type": [1]},
        "vocabulary-type-unknown": {**good, "token_type": [1 << 30] * 9},
        "vocabulary-bos-beyond": {**good, "bos_token_id": 1 << 31},
        "vocabulary-bos-filler": {**good, "bos_token_id": 7},
        "vocabulary-merge-twice": {**good, "merges": ["a b", "a b"]},
        "vocabulary-merge-space": {**good, "merges": [" "]},
        "vocabulary-merge-empty": {**good, "merges": [""]},
    }
    os.makedirs(folder, exist_ok=True)
    for name, pairs in files.items():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(vocabulary(**pairs))


main(sys.argv[1])
