#!/usr/bin/env python3
"""Token ids from GGUF files: baleen against llama.cpp.

    gguf_vocab.py BALEEN FILE.gguf ... [--llama-tokenize BIN TEXT ...]

Beside FILE.gguf may lie FILE.gguf.inp and .out, as in llama.cpp's models/: texts and their ids by Hugging Face's tokenizers.
With --llama-tokenize also the ids by that program, special tokens parsed, of each whole TEXT and of each text of hostile() in
tests/oracle/tokenizer_texts.py. Files that baleen refuses as unsupported are listed, and are no failure. Exit status 1 when any
id differs, or a file fails otherwise. Needs: gguf, for the added tokens of the hostile texts.
"""
import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "oracle"))
from gguf import GGUFReader  # noqa: E402
from tokenizer_texts import hostile  # noqa: E402

SEPARATOR = "\n__ggml_vocab_test__\n"


def baleen_ids(baleen, path, texts):
    """A list of ids for each text, or the sentence of the refusal."""
    lines = "".join(json.dumps(t) + "\n" for t in texts)
    run = subprocess.run([baleen, "tokenize", "--json", path], input=lines, capture_output=True, text=True)
    if run.returncode:
        return run.stderr.strip()
    return [[int(i) for i in line.split()] for line in run.stdout.split("\n")[:len(texts)]]


def llama_ids(llama, path, text):
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="") as f:
        f.write(text)
        f.flush()
        run = subprocess.run([llama, "-m", path, "-f", f.name, "--ids", "--no-bos", "--no-escape", "--log-disable"],
                             capture_output=True, text=True, check=True)
    return ast.literal_eval(run.stdout[run.stdout.index("["):])


def added_tokens(path):
    fields = GGUFReader(path).fields
    tokens, types = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "token_type"))
    return [t for t, kind in zip(tokens, types) if kind in (3, 4) and t]


def expected(path):
    """Texts and ids that lie beside a vocabulary."""
    if not os.path.exists(path + ".inp"):
        return [], []
    with open(path + ".inp", encoding="utf-8", newline="") as f:
        texts = f.read().split(SEPARATOR)
    with open(path + ".out", encoding="utf-8") as f:
        ids = [[int(i) for i in line.split()] for line in f.read().split("\n")]
    n = min(len(texts), len(ids)) - 1  # what follows the last separator is no text
    return texts[:n], ids[:n]


def difference(text, want, have):
    at = next((i for i, (a, b) in enumerate(zip(want, have)) if a != b), min(len(want), len(have)))
    return f"{ascii(text[:60])}\n  from id {at}: want {want[at:at + 12]}\n  have {have[at:at + 12]}"


def compare(a, path):
    """(texts that differ, a line for the table)."""
    texts, want = expected(path)
    n_beside = len(texts)
    names = [f"beside {i}" for i in range(n_beside)]
    refusal = baleen_ids(a.baleen, path, [])
    if isinstance(refusal, str):
        return ("not supported" not in refusal), refusal
    if a.llama_tokenize:
        hard = [(os.path.basename(t), open(t, encoding="utf-8", newline="").read()) for t in a.texts] + hostile(added_tokens(path))
        names += [name for name, _ in hard]
        texts += [text for _, text in hard]
        want += [llama_ids(a.llama_tokenize, path, text) for _, text in hard]
    have = baleen_ids(a.baleen, path, texts)
    differ = [i for i in range(len(texts)) if have[i] != want[i]]
    for i in differ:
        print(f"{os.path.basename(path)}: {names[i]}: {difference(texts[i], want[i], have[i])}")
    return len(differ), f"{n_beside} + {len(texts) - n_beside} texts, {sum(map(len, want))} ids, {len(differ)} texts differ"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("baleen")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--llama-tokenize", nargs="+", default=[], metavar="BIN TEXT")
    a = parser.parse_args()
    a.texts = a.llama_tokenize[1:]
    a.llama_tokenize = a.llama_tokenize[0] if a.llama_tokenize else None
    failures = 0
    for path in a.files:
        n, line = compare(a, path)
        failures += n
        print(f"{os.path.basename(path)}: {line}", flush=True)
    return 1 if failures else 0


sys.exit(main())
