#!/usr/bin/env python3
"""Run llama.cpp's own convert_hf_to_gguf.py on a checkpoint whose tokenizer it does not know.

  llamacpp_convert.py LLAMA_CPP_SOURCE PRE DIR --outtype f32 --outfile X.gguf [more options of that script]

Their script recognises a tokenizer by a hash over the token ids of one test string, so a vocabulary trained for a test
is refused even where its split expressions are DeepSeek's own. PRE (for example deepseek-v3) answers in place of that
look-up; everything else is their program, unchanged. Needs torch, transformers, numpy, sentencepiece, gguf.
"""
import runpy
import sys
from pathlib import Path


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    source, pre = Path(sys.argv[1]), sys.argv[2]
    script = source / "convert_hf_to_gguf.py"
    if not script.is_file():
        sys.exit(f"llamacpp_convert: {script} is not there: give the folder that holds convert_hf_to_gguf.py")
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    from conversion.base import TextModel

    TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
    sys.argv = [str(script), *sys.argv[3:]]
    runpy.run_path(str(script), run_name="__main__")


main()
