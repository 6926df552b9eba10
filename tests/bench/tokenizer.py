#!/usr/bin/env python3
"""Tokens per second of this project and of the Python package `tokenizers`, side by side.

    tokenizer.py --helper build/tests/tokenize_lines TEXT DIRECTORY ...

One thread, the whole TEXT in one call, the fastest of three runs each. Needs: tokenizers 0.23.
"""
import argparse
import os
import subprocess
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--helper", required=True)
    parser.add_argument("text")
    parser.add_argument("directory", nargs="+")
    a = parser.parse_args()
    text = open(a.text, encoding="utf-8", newline="").read()
    print(f"{'tokenizer':<40} {'tokens':>8} {'ours':>12} {'Python':>12} ratio")
    for directory in a.directory:
        run = subprocess.run([a.helper, directory, a.text], capture_output=True, text=True, check=True)
        n_ours, ours = run.stdout.split()
        reference = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
        theirs = float("inf")
        for _ in range(3):
            begin = time.perf_counter()
            n = len(reference.encode(text, add_special_tokens=False).ids)
            theirs = min(theirs, time.perf_counter() - begin)
        assert n == int(n_ours)
        print(f"{directory[-40:]:<40} {n:>8} {n / float(ours):>10.0f}/s {n / theirs:>10.0f}/s {theirs / float(ours):.1f}")


main()
