#!/usr/bin/env python3
"""Make the small tokenizers tests/data/tokenizer/tiny-gpt2 and tiny-smollm with the Python package `tokenizers`: trained on
the evaluation texts, with the pipelines of GPT-2 and SmolLM, and their ids for the texts of tiny-qwen2's vectors.

    make_style_tokenizers.py tests/data

Needs: Python 3.11, tokenizers 0.23.
"""
import json
import os
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
STYLES = {
    "gpt2": (BYTE_LEVEL, 1000, ["<|endoftext|>"], []),
    "smollm": (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTE_LEVEL]), 1000,
               ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
               [AddedToken("<tool_call>", normalized=False), AddedToken("  ", normalized=True)]),
}


def train(pre_tokenizer, size, special, added, texts):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizer
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.train(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False,
                                       initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_tokens(added)
    return t


def main(data):
    texts = [os.path.join(data, "text", f"{name}.eval.txt") for name in ("wiki", "code")]
    with open(os.path.join(data, "tokenizer", "tiny-qwen2", "vectors.jsonl"), encoding="utf-8") as f:
        vectors = [json.loads(line)["text"] for line in f]
    for name, (pre_tokenizer, size, special, added) in STYLES.items():
        folder = os.path.join(data, "tokenizer", "tiny-" + name)
        os.makedirs(folder, exist_ok=True)
        t = train(pre_tokenizer, size, special, added, texts)
        t.save(os.path.join(folder, "tokenizer.json"), pretty=False)
        with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
            json.dump({"add_prefix_space": False, "bos_token": special[0], "eos_token": special[-1],
                       "unk_token": special[0]}, f)
        with open(os.path.join(folder, "vectors.jsonl"), "w", encoding="utf-8") as f:
            for text in vectors:
                ids = t.encode(text, add_special_tokens=False).ids
                f.write(json.dumps({"text": text, "ids": ids}, ensure_ascii=False) + "\n")


main(sys.argv[1])
