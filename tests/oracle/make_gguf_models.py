#!/usr/bin/env python3
"""Small GGUF models by llama.cpp's own converter, for the reader's golden tests.

    python tests/oracle/make_gguf_models.py LLAMA_CPP_SOURCE tests/data

writes tests/data/gguf/toy-{llama,qwen2,mla}.gguf from tests/data/toy-*, in the type of the source,
and toy-mla-whole.gguf: the same with one attn_kv_b tensor and the head lengths under the plain
keys, as llama.cpp wrote latent attention before its change of April 2025. pairs.gguf has heads of
8, whose change from halves to pairs is not its own inverse (of 4 it is): row r of q and k is filled
with r before the converter's permute(), and value r of their biases. The toys have no
tokenizer, so the converter is told to leave it out; all else is that program. Made with llama.cpp
of September 2026 (llama-cpp-python 0.3.36), gguf 0.19.0, torch 2.x.
"""
import runpy
import sys
from pathlib import Path

source, data = Path(sys.argv[1]), Path(sys.argv[2])
sys.path[:0] = [str(source), str(source / "gguf-py")]

import conversion.deepseek
import conversion.llama
import conversion.qwen  # so that their classes are known below
import gguf
import numpy as np
import torch
from conversion.base import ModelBase
from safetensors.torch import load_file

TYPES = {"toy-llama": "f16", "toy-qwen2": "bf16", "toy-mla": "f32"}


def only_the_size(self):
    if self.model_arch == gguf.MODEL_ARCH.QWEN2:  # the others write it with their parameters
        self.gguf_writer.add_vocab_size(self.hparams["vocab_size"])


def without_tokenizers(cls=ModelBase):
    for sub in cls.__subclasses__():
        sub.set_vocab = only_the_size
        without_tokenizers(sub)


def convert(name):
    out = data / "gguf" / f"{name}.gguf"
    sys.argv = ["convert_hf_to_gguf.py", str(data / name), "--outtype", TYPES[name], "--outfile",
                str(out), "--model-name", name]
    runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")
    return out


def put_field(w, field, value):
    kind = field.types[0]
    if kind == gguf.GGUFValueType.ARRAY:
        w.add_array(field.name, value)
    else:
        w.add_key_value(field.name, value, kind)


def unsplit(split, whole):
    r = gguf.GGUFReader(split)
    w = gguf.GGUFWriter(whole, "deepseek2")
    hf = load_file(data / "toy-mla" / "model.safetensors")
    value = {f.name: f.contents() for f in r.fields.values()}
    value["deepseek2.attention.key_length"] = value.pop("deepseek2.attention.key_length_mla")
    value["deepseek2.attention.value_length"] = value.pop("deepseek2.attention.value_length_mla")
    value["deepseek2.attention.head_count_kv"] = value["deepseek2.attention.head_count"]
    for name, v in value.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            put_field(w, r.fields[name], v)
    for t in r.tensors:
        if "attn_k_b" in t.name:
            layer = t.name.split(".")[1]
            kv_b = hf[f"model.layers.{layer}.self_attn.kv_b_proj.weight"].to(torch.float32).numpy()
            w.add_tensor(t.name.replace("attn_k_b", "attn_kv_b"), np.ascontiguousarray(kv_b))
        elif "attn_v_b" not in t.name:
            w.add_tensor(t.name, t.data, raw_dtype=t.tensor_type)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def pairs(out):
    w = gguf.GGUFWriter(out, "llama")
    for add, value in ((w.add_block_count, 1), (w.add_context_length, 8), (w.add_embedding_length, 4),
                       (w.add_feed_forward_length, 2), (w.add_vocab_size, 3), (w.add_head_count, 2),
                       (w.add_head_count_kv, 1), (w.add_key_length, 8), (w.add_value_length, 8)):
        add(value)
    w.add_layer_norm_rms_eps(1e-5)
    for name, shape in (("token_embd", (3, 4)), ("output_norm", (4,)), ("blk.0.attn_norm", (4,)),
                        ("blk.0.ffn_norm", (4,)), ("blk.0.ffn_gate", (2, 4)),
                        ("blk.0.ffn_up", (2, 4)), ("blk.0.ffn_down", (4, 2)),
                        ("blk.0.attn_v", (8, 4)), ("blk.0.attn_output", (4, 16))):
        w.add_tensor(name + ".weight", np.ones(shape, np.float32))
    for name, n_head, n_kv in (("q", 2, 2), ("k", 2, 1)):
        rows = torch.arange(8.0 * n_kv).reshape(-1, 1)
        permute = conversion.llama.LlamaModel.permute
        w.add_tensor(f"blk.0.attn_{name}.weight",
                     permute(rows.expand(-1, 4).contiguous(), n_head, n_kv).numpy())
        w.add_tensor(f"blk.0.attn_{name}.bias", permute(rows, n_head, n_kv).reshape(-1).numpy())
    w.add_tensor("blk.0.attn_v.bias", np.ones(8, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    (data / "gguf").mkdir(exist_ok=True)
    without_tokenizers()
    made = [convert(name) for name in TYPES]
    pairs(data / "gguf" / "pairs.gguf")
    unsplit(made[-1], data / "gguf" / "toy-mla-whole.gguf")
