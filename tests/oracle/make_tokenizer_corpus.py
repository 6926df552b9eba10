#!/usr/bin/env python3
"""Write the inputs of tests/fuzz/fuzz_tokenizer.c: a tokenizer.json, a NUL, a text.

    make_tokenizer_corpus.py tests/fuzz/corpus/tokenizer
"""
import json
import os
import sys

SPLITS = {
    "deepseek": [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
                 "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
                 "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"],
    "qwen": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
             r"|\s+(?!\S)|\s+"],
}


def alphabet():
    """GPT-2's byte-level alphabet, byte 0 first."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in plain]
    return [chr(b) if b in plain else chr(256 + rest.index(b)) for b in range(256)]


def tokenizer(letters, merges, splits=(), added=(), **more):
    vocab = {t: i for i, t in enumerate([*letters, *(a + b for a, b in merges)])}
    tokens = [{"id": vocab.get(t, len(vocab) + i), "content": t, "special": False, "normalized": False, **flags}
              for i, (t, flags) in enumerate(added)]
    pre = [{"type": "Split", "pattern": {"Regex": s}, "behavior": "Isolated", "invert": False} for s in splits]
    pre.append({"type": "ByteLevel", "add_prefix_space": False, "use_regex": False})
    return {"added_tokens": tokens, "pre_tokenizer": {"type": "Sequence", "pretokenizers": pre},
            "model": {"type": "BPE", "vocab": vocab, "merges": merges, **more.pop("model", {})}, **more}


def main(folder):
    small = [["a", "b"], ["ab", "a"], ["b", "a"], ["a", "a"], ["aa", "aa"]]
    think = [("<think>", {}), ("</think>", {"normalized": True}), ("<s>", {"special": True})]
    text = "It's 12345 cm², 价格12元。\r\n\n  x_y = abaab;\tDon't <think>e\u0301</think> \u180e"
    files = {
        "deepseek": (tokenizer(alphabet(), small, SPLITS["deepseek"], think), text),
        "qwen-nfc": (tokenizer(alphabet(), small, SPLITS["qwen"], think, normalizer={"type": "NFC"}), text),
        "ignore-merges": (tokenizer(alphabet(), small, SPLITS["qwen"], model={"ignore_merges": True}), text),
        "gpt2": ({**tokenizer(alphabet(), small), "pre_tokenizer": {"type": "ByteLevel"}}, text),
        "few-letters": (tokenizer("ab", small, [r"\s+$|a*"]), "abaab  \nba"),
        "long-piece": (tokenizer("ab", small), "aab" * 100),
        "stripping": (tokenizer("ab<> ", [], added=[("<a>", {"lstrip": True, "rstrip": True}), (" ", {"rstrip": True})]),
                      "a  <a> \u3000 b   <a>"),
        "backtracking": (tokenizer("ab", [], ["(?:a+)+\\d"]), "a" * 60),
        "not-utf8": (tokenizer("ab", []), b"ab\xff"),
        "id-far-above": ({"model": {"vocab": {"a": 9999999}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel"}}, ""),
        "merge-of-nothing": (tokenizer("ab", [["a", "b"]], model={"merges": [["a", "c"]]}), ""),
        "unigram": ({"model": {"type": "Unigram", "vocab": [["a", -1.5]]}}, ""),
        "class-without-end": (tokenizer("ab", [], ["[a"]), "ab"),
        "escape-without-end": (tokenizer("ab", [], ["\\x{41"]), "ab"),
    }
    for name, (document, content) in files.items():
        if isinstance(content, str):
            content = content.encode()
        with open(os.path.join(folder, name), "wb") as out:
            out.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\0" + content)


main(sys.argv[1])
