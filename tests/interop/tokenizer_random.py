#!/usr/bin/env python3
"""Token ids of random Unicode texts: this project's tokenizer against the Python package.

    tokenizer_random.py --helper build/tests/tokenize_lines [-n 100000] [--seed 1] DIRECTORY ...

Each DIRECTORY holds a tokenizer.json. Exit status 1 when any text differs.
Needs: Python 3.11, tokenizers 0.23 (pip install tokenizers).
"""
import argparse
import os
import subprocess
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "oracle"))
from tokenizer_texts import Texts  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def compare(directory, helper, n, seed):
    reference = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
    added = [t.content for t in reference.get_added_tokens_decoder().values()]
    source = Texts(seed, added)
    differences = n_ids = done = 0
    while done < n:
        texts = [source.text(60) for _ in range(min(10000, n - done))]
        lines = "".join(t.encode().hex() + "\n" for t in texts)
        run = subprocess.run([helper, directory], input=lines, capture_output=True, text=True, check=True)
        ours = run.stdout.split("\n")
        assert len(ours) == len(texts) + 1
        for text, line in zip(texts, ours):
            ids = reference.encode(text, add_special_tokens=False).ids
            n_ids += len(ids)
            if line != " ".join(map(str, ids)):
                differences += 1
                if differences <= 5:
                    print(f"{ascii(text)}\n  reference {ids}\n  ours      {line}")
        done += len(texts)
    print(f"{directory}: {n} texts, {n_ids} ids, {differences} texts differ", flush=True)
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--helper", required=True)
    parser.add_argument("-n", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("directory", nargs="+")
    a = parser.parse_args()
    return 1 if sum([compare(d, a.helper, a.n, a.seed) for d in a.directory]) else 0


sys.exit(main())
