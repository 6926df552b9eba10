#!/usr/bin/env python3
"""Token ids of hostile and random Unicode texts: this project's tokenizer against the Python package.

    tokenizer_random.py --helper build/tests/tokenize_lines [-n 100000] [--seed 1] DIRECTORY[=FILE.gguf] ...

Each DIRECTORY holds a tokenizer.json; with a GGUF file behind it, that is what this project reads. First come the texts of
hostile() in tests/oracle/tokenizer_texts.py, then n random ones. Exit status 1 when any text differs.
Needs: Python 3.11, tokenizers 0.23 (pip install tokenizers).
"""
import argparse
import os
import subprocess
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "oracle"))
from tokenizer_texts import Texts, hostile  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def compare(model, helper, n, seed):
    directory, _, gguf = model.partition("=")
    reference = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
    added = [t.content for t in reference.get_added_tokens_decoder().values()]
    source = Texts(seed, added or ["<s>"])
    texts = [text for _, text in hostile(added)]
    n += len(texts)
    differences = n_ids = done = 0
    while done < n:
        texts = texts or [source.text(60) for _ in range(min(10000, n - done))]
        lines = "".join(t.encode().hex() + "\n" for t in texts)
        run = subprocess.run([helper, gguf or directory], input=lines, capture_output=True, text=True, check=True)
        ours = run.stdout.split("\n")
        assert len(ours) == len(texts) + 1
        for text, line in zip(texts, ours):
            ids = reference.encode(text, add_special_tokens=False).ids
            n_ids += len(ids)
            if line != " ".join(map(str, ids)):
                differences += 1
                if differences <= 5:
                    have = line.split()
                    at = next((i for i, (a, b) in enumerate(zip(map(str, ids), have)) if a != b), min(len(ids), len(have)))
                    print(f"{ascii(text[:200])}\n  from id {at}: reference {ids[at:at + 20]}\n  ours {have[at:at + 20]}")
        done += len(texts)
        texts = []
    print(f"{model}: {n} texts, {n_ids} ids, {differences} texts differ", flush=True)
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--helper", required=True)
    parser.add_argument("-n", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("model", nargs="+", metavar="DIRECTORY[=FILE.gguf]")
    a = parser.parse_args()
    return 1 if sum([compare(d, a.helper, a.n, a.seed) for d in a.model]) else 0


sys.exit(main())
