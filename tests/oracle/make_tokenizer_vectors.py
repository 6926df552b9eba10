#!/usr/bin/env python3
"""Write tests/data/tokenizer/random.txt: random texts and the ids that the Python package
`tokenizers` gives them, a small sample of tests/interop/tokenizer_random.py.

    make_tokenizer_vectors.py tests/data

A line: the directory of the tokenizer, the text in hexadecimal UTF-8, its ids.
Needs: Python 3.11, tokenizers 0.23.
"""
import os
import sys

from tokenizer_texts import Texts
from tokenizers import Tokenizer

DIRECTORIES = ["nano-r1", "tokenizer/tiny-r1", "tokenizer/tiny-qwen2", "tokenizer/tiny-llama",
               "tokenizer/deepseek-v3"]


def main(data):
    with open(os.path.join(data, "tokenizer", "random.txt"), "w") as out:
        for seed, directory in enumerate(DIRECTORIES):
            reference = Tokenizer.from_file(os.path.join(data, directory, "tokenizer.json"))
            source = Texts(seed, [t.content for t in reference.get_added_tokens_decoder().values()])
            for _ in range(400):
                text = source.text(24)
                ids = reference.encode(text, add_special_tokens=False).ids
                out.write(" ".join([directory, text.encode().hex(), *map(str, ids)]) + "\n")


main(sys.argv[1])
